"""A license's states, what may happen to it, and where each happening leads: one table.

A move that the table does not name is refused. Expiry by the calendar is not a move: the validator compares instants,
and a sweep writes `expired` down later (Event.LAPSED).
"""

import enum
from collections.abc import Mapping
from typing import Final

from core.errors import IllegalMove


class Status(enum.StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class Event(enum.Enum):
    PAID = "paid"  # a renewal or an overdue invoice was settled
    GRACE_ENDED = "grace ended"  # unpaid for longer than the grace period
    SUSPENDED_BY_ADMIN = "suspended by an admin"
    RESUMED_BY_ADMIN = "resumed by an admin"
    EXTENDED_BY_ADMIN = "extended by an admin"  # to a later day; the reason of a suspension is not touched
    LAPSED = "lapsed"  # its expiry date is in the past
    CANCELLED = "cancelled"  # the subscription ended and will not be renewed


MOVES: Final[Mapping[tuple[Status, Event], Status]] = {
    (Status.ACTIVE, Event.PAID): Status.ACTIVE,
    (Status.ACTIVE, Event.GRACE_ENDED): Status.SUSPENDED,
    (Status.ACTIVE, Event.SUSPENDED_BY_ADMIN): Status.SUSPENDED,
    (Status.ACTIVE, Event.RESUMED_BY_ADMIN): Status.ACTIVE,
    (Status.ACTIVE, Event.EXTENDED_BY_ADMIN): Status.ACTIVE,
    (Status.ACTIVE, Event.LAPSED): Status.EXPIRED,
    (Status.ACTIVE, Event.CANCELLED): Status.CANCELLED,
    (Status.SUSPENDED, Event.PAID): Status.ACTIVE,
    (Status.SUSPENDED, Event.GRACE_ENDED): Status.SUSPENDED,
    (Status.SUSPENDED, Event.SUSPENDED_BY_ADMIN): Status.SUSPENDED,
    (Status.SUSPENDED, Event.RESUMED_BY_ADMIN): Status.ACTIVE,
    (Status.SUSPENDED, Event.EXTENDED_BY_ADMIN): Status.SUSPENDED,
    (Status.SUSPENDED, Event.LAPSED): Status.EXPIRED,
    (Status.SUSPENDED, Event.CANCELLED): Status.CANCELLED,
    (Status.EXPIRED, Event.PAID): Status.ACTIVE,
    (Status.EXPIRED, Event.EXTENDED_BY_ADMIN): Status.ACTIVE,
    (Status.EXPIRED, Event.LAPSED): Status.EXPIRED,
    (Status.EXPIRED, Event.CANCELLED): Status.CANCELLED,
    (Status.CANCELLED, Event.CANCELLED): Status.CANCELLED,
}


def move(status: Status, event: Event) -> Status:
    """The state after `event`; IllegalMove where the table has none."""
    try:
        return MOVES[status, event]
    except KeyError:
        raise IllegalMove(f"a license that is {status} cannot be {event.value}") from None
