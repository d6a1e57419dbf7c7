"""Batch counting: the new total after each report of a batch, and whether it exceeds the limit.

If a total is below zero, a correction (corrections.py) is inserted before a creation that may not draw on the credit.
"""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

import msgspec

from billing_api.licensing.usage import corrections
from billing_api.licensing.usage.repository import ChangedTotal, KnownLicense, NewEvent, TotalState
from core.licensing.counting import EventAction, UsageAction, exceeds, left, may_draw, total_after
from core.licensing.plan import Resource


class CheckedReport(msgspec.Struct, frozen=True, gc=False):
    """A validated report: what happened, to which license, and for which license its signer may report."""

    license_hash: bytes
    only_license: UUID | None
    """The only license for which the signer may report; None is the platform."""
    resource: Resource
    action: UsageAction
    number: int
    idempotency_key: str
    body_hash: bytes
    reservation_id: str | None
    occurred_at: datetime | None


class Counted(msgspec.Struct, frozen=True, gc=False):
    remaining: int | None
    overage: bool
    replayed: bool = False


class Tally:
    """The running total of one resource while the reports of a batch are counted."""

    __slots__ = (
        "before", "below_since", "corrected_at", "events", "is_flagged", "limit", "place", "total", "used", "user_id"
    )  # fmt: skip

    def __init__(self, place: int, license_: KnownLicense, resource: Resource, before: TotalState) -> None:
        self.place = place
        self.total = (license_.id, resource)
        self.user_id = license_.user_id
        self.limit = license_.limits.of(resource)
        self.before = before
        self.used, self.events, self.below_since, self.corrected_at = before
        self.is_flagged = before.below_since is not None or before.corrected_at is not None

    def count(self, report: CheckedReport, moment: Callable[[], datetime]) -> Counted:
        used = self.used = total_after(self.used, report.action, report.number)
        self.events += 1
        if used < 0 or self.is_flagged:
            self._flag(report.action, moment)
        return Counted(left(self.limit, used), exceeds(self.limit, used))

    def _flag(self, action: UsageAction, moment: Callable[[], datetime]) -> None:
        if self.used >= 0:
            self.below_since = None
        elif self.below_since is None:
            self.below_since = moment()
        if action is UsageAction.SET:
            self.corrected_at = None  # the panel's full count replaces everything that was wrong
        self.is_flagged = self.below_since is not None or self.corrected_at is not None

    def needs_correction(self, report: CheckedReport, now: datetime) -> bool:
        """Only for a total below zero: whether this report is a creation that may not draw on the credit."""
        return report.action is UsageAction.CREATED and not may_draw(
            below_since=self.below_since or now,
            now=now,
            is_reserved=report.reservation_id is not None,
            occurred_at=report.occurred_at,
        )

    def correct(self, report: CheckedReport, now: datetime) -> NewEvent:
        """Brings the total to 0 before this report is counted. The event has the report's own instant."""
        key = corrections.key_of(*self.total, self.below_since or now)
        missing = -self.used
        self.used, self.below_since, self.corrected_at = 0, None, now
        self.events += 1
        self.is_flagged = True
        action, body_hash = EventAction.CORRECTED, corrections.hash_of(key)
        return (self.place, action, missing, 0, self.events, key, body_hash, False, None, report.occurred_at)

    def changed(self) -> ChangedTotal:
        before = self.before
        return ChangedTotal(
            *self.total,
            self.user_id,
            before.used,
            before.events,
            self.used,
            self.events,
            self.below_since,
            self.corrected_at,
        )
