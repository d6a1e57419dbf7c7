"""Schedule of dunning: which steps after a failed payment are due, from the policy and from what was done before.

Steps are due by state. So a step that fell due while nobody looked is taken later, but of several mails that are due
together only the last one is sent: "your payment failed" is no news to somebody who reads "suspension is tomorrow".
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from core.billing_policy import DunningStep


class Due(NamedTuple):
    """`take` in this order; `pass_over`: mails that a later step has made pointless."""

    take: tuple[DunningStep, ...]
    pass_over: tuple[DunningStep, ...]


def due(
    steps: Sequence[DunningStep],
    *,
    failed_at: datetime,
    taken: Collection[int],
    now: datetime,
    in_force_until: datetime | None,
) -> Due:
    """`taken`: the days of the steps that were taken or passed over.

    `in_force_until`: the end of what is paid or was given by staff; until then nothing is suspended or ended.
    """
    fallen = [step for step in steps if step.day not in taken and due_at(step, failed_at, in_force_until) <= now]
    mails = [step for step in fallen if step.mail]
    last = fallen[-1] if fallen else None
    pass_over = tuple(step for step in mails if step is not last)
    return Due(tuple(step for step in fallen if step not in pass_over), pass_over)


def next_due(
    steps: Sequence[DunningStep],
    *,
    failed_at: datetime,
    taken: Collection[int],
    in_force_until: datetime | None,
) -> datetime | None:
    """When the next step falls due; it may be past. None where every step was taken."""
    return min((due_at(step, failed_at, in_force_until) for step in steps if step.day not in taken), default=None)


def due_at(step: DunningStep, failed_at: datetime, in_force_until: datetime | None) -> datetime:
    """A deed waits for the end of what the license's owner has."""
    instant = failed_at + timedelta(days=step.day)
    return max(instant, in_force_until) if step.do and in_force_until is not None else instant
