"""History of the clients: every request with its instant and its answer. The judge relies on nothing else.

Instants are unix seconds of this machine's clock, which is the servers' clock too.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

GRANTED: Final = "GRANTED"
RESERVED: Final = ("databases", "domains", "accounts")
"""No client creates these without a reservation, or deletes one that was not created. The other resources are reported
without, so that totals pass below zero.
"""
PAUSE: Final = 60.0
"""Seconds for which nothing may be reserved once holds may have been lost (docs: the longest ttl)."""


class Counter(NamedTuple):
    """One resource of one license: it has a limit and a total."""

    license_id: str
    resource: str


class Reservation(msgspec.Struct, kw_only=True):
    """A request for a hold and its retries, all with one Idempotency-Key."""

    counter: Counter
    key: str
    count: int
    ttl: float
    sent_at: float
    """When the first try left: the hold was made at this instant or later."""
    answered_at: float | None = None
    code: str = ""
    reservation_id: str | None = None
    released_at: float | None = None
    """When the first try to give it back left: the hold ended at this instant or later."""
    log: list[str] = []

    @property
    def granted(self) -> bool:
        return self.code == GRANTED

    @property
    def ends_at(self) -> float:
        """The hold was alive until then at least."""
        return self.sent_at + self.ttl


class UsageReport(msgspec.Struct, kw_only=True):
    """A usage report and its retries, all with one Idempotency-Key."""

    counter: Counter
    key: str
    action: str
    count: int
    sent_at: float
    reservation: Reservation | None = None
    undoes: str | None = None
    """Key of the report whose creation is deleted here."""
    occurred_at: str | None = None
    acknowledged_at: float | None = None
    abandoned: bool = False
    """The client did not wait for an answer, and did not retry: the report may be stored, or not."""
    refused: str | None = None
    """A conclusive refusal, for which the client knows no reason."""
    log: list[str] = []

    @property
    def content(self) -> Mapping[str, Any]:
        held = self.reservation
        return {
            "resource": self.counter.resource,
            "action": self.action,
            "count": self.count,
            "reservation_id": held.reservation_id if held else None,
        }


class History(msgspec.Struct):
    reservations: list[Reservation] = []
    reports: list[UsageReport] = []
    losses: list[float] = []
    """Instants at which the hot store had lost holds, or was restarted and may have lost some."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A row of usage_events."""

    counter: Counter
    key: str
    action: str
    count: int
    reservation_id: str | None
    occurred_at: float
    created_at: float
    used_after: int
    order: int | None = None
    """Its place among all events; None where the table does not say."""

    @property
    def content(self) -> Mapping[str, Any]:
        return {
            "resource": self.counter.resource,
            "action": self.action,
            "count": self.count,
            "reservation_id": self.reservation_id,
        }


class Books(msgspec.Struct, kw_only=True):
    """The contents of the stores once everything is quiet. A total that is absent counts as 0."""

    events: list[Event] = []
    totals: dict[Counter, int] = {}
    hot: dict[Counter, int] = {}
    """Totals in Redis."""
    limits: dict[Counter, int | None] = {}
    """None is unlimited."""
