"""State machine of a license: one table of states, events and the state that each event leads to.

A transition that is not in the table is refused. Expiry by date is not a transition: the validator compares instants,
and a sweep records `expired` later (Event.LAPSED).
"""

import enum
from collections.abc import Mapping
from typing import Final

from core.errors import IllegalMove


class Status(enum.StrEnum):
    """State of a license. `cancelled` is final; a suspended and an expired license can come back."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class Event(enum.Enum):
    PAID = "paid"  # a renewal or an overdue invoice was paid
    GRACE_ENDED = "grace ended"  # unpaid for longer than the grace period
    SUSPENDED_BY_ADMIN = "suspended by an admin"
    RESUMED_BY_ADMIN = "resumed by an admin"
    EXTENDED_BY_ADMIN = "extended by an admin"  # to a later day; a suspension stays as it is
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
