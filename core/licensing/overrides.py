"""Limits that staff set for one license, and what becomes of them when its plan changes.

A limit set above what the plan gives is a promise: from then on *at least* so much, on every plan. One set below it is
a restraint: *at most* so much, on every plan. So neither is lost by a change that staff did not make, and neither turns
against its purpose: who was promised 60 databases gets all that a plan without a limit gives, and who was held to 0
e-mails is not freed by paying more. Setting what the plan gives anyway takes the override back.

None is unlimited, which is more than any number.
"""

from typing import Final

import msgspec

_UNLIMITED: Final = float("inf")


class Override(msgspec.Struct, frozen=True, omit_defaults=True):
    """One of the two; `{"at_least": null}` is unlimited on every plan."""

    at_least: int | msgspec.UnsetType | None = msgspec.UNSET
    at_most: int | msgspec.UnsetType = msgspec.UNSET

    def applied(self, of_plan: int | None) -> int | None:
        """The limit in force beside what the plan gives."""
        if self.at_least is not msgspec.UNSET:
            return max(self.at_least, of_plan, key=_size)
        return of_plan if self.at_most is msgspec.UNSET else min(self.at_most, of_plan, key=_size)


def override(limit: int | None, of_plan: int | None) -> Override | None:
    """What it means to set this limit on a license of a plan that gives `of_plan`; None where it is the same."""
    if limit == of_plan:
        return None
    if limit is None or _size(limit) > _size(of_plan):
        return Override(at_least=limit)
    return Override(at_most=limit)


def _size(limit: int | None) -> float:
    return _UNLIMITED if limit is None else limit
