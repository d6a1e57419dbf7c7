"""Overrides of plan limits, set by staff for one license, and what a change of the plan does to them.

A limit above the plan's is a promise: from then on *at least* so much, on every plan. A limit below it is a
restriction: *at most* so much, on every plan. So a change of plan never loses an override, nor turns it against its
purpose. A customer who was promised 60 databases still gets an unlimited plan's databases without a limit; one who was
restricted to 0 e-mail accounts stays restricted on a larger plan. Setting the plan's own limit removes the override.

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
        """The limit in force, given the plan's."""
        if self.at_least is not msgspec.UNSET:
            return max(self.at_least, of_plan, key=_size)
        return of_plan if self.at_most is msgspec.UNSET else min(self.at_most, of_plan, key=_size)


def override(limit: int | None, of_plan: int | None) -> Override | None:
    """The override that sets this limit on a license whose plan gives `of_plan`; None where they are equal."""
    if limit == of_plan:
        return None
    if limit is None or _size(limit) > _size(of_plan):
        return Override(at_least=limit)
    return Override(at_most=limit)


def _size(limit: int | None) -> float:
    return _UNLIMITED if limit is None else limit
