"""State machine of a license: one table of states, events and the state that each event leads to.

A transition that is not in the table is refused. Expiry by date is not a transition: the validator compares instants,
and a sweep records `expired` later (Event.LAPSED).

A license is suspended for a set of causes, and stays suspended while one of them is open. Some events open a cause and
some close one: a payment closes `unpaid` alone, so it does not lift what a bank or staff have raised. The table says
whether an event is allowed and whether the license is in force after it; the open causes say which of the two states
in force it has. So SUSPENDED means that a cause is open, and no other state has open causes.
"""

import enum
from collections.abc import Mapping
from typing import Final, NamedTuple

from core.errors import IllegalMove


class Status(enum.StrEnum):
    """State of a license. `cancelled` and `expired` end it: only a payment, staff or a new purchase bring it back."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class Cause(enum.StrEnum):
    """Why a license is suspended."""

    UNPAID = "unpaid"
    DISPUTED = "disputed"
    REFUNDED = "refunded"
    STAFF = "staff"


class Event(enum.Enum):
    PAID = "paid"  # a renewal or an overdue invoice was paid
    BOUGHT_AGAIN = "bought again"  # a checkout that names this license was paid
    GRACE_ENDED = "grace ended"  # unpaid for longer than the grace period
    DISPUTED = "disputed"  # the bank has taken a payment back for now
    DISPUTE_WON = "cleared of its disputes"  # no dispute of its payments is open any more, and the last one was won
    REFUNDED = "refunded"  # a payment was refunded, and the license waits until staff decide
    REFUND_UNDONE = "cleared of its refunds"  # the bank returned the refund: the money is ours again
    SUSPENDED_BY_ADMIN = "suspended by an admin"
    RESUMED_BY_ADMIN = "resumed by an admin"
    EXTENDED_BY_ADMIN = "extended by an admin"  # to a later day; a suspension stays as it is
    LAPSED = "lapsed"  # its expiry date is in the past
    CANCELLED = "cancelled"  # the subscription ended and will not be renewed


class Standing(NamedTuple):
    """A license's state, and the causes that are open."""

    status: Status
    causes: frozenset[Cause] = frozenset()


NO_CAUSES: Final[frozenset[Cause]] = frozenset()
OPENS: Final[Mapping[Event, Cause]] = {
    Event.GRACE_ENDED: Cause.UNPAID,
    Event.DISPUTED: Cause.DISPUTED,
    Event.REFUNDED: Cause.REFUNDED,
    Event.SUSPENDED_BY_ADMIN: Cause.STAFF,
}
CLOSES: Final[Mapping[Event, frozenset[Cause]]] = {
    Event.PAID: frozenset({Cause.UNPAID}),
    Event.DISPUTE_WON: frozenset({Cause.DISPUTED}),
    Event.REFUND_UNDONE: frozenset({Cause.REFUNDED}),
    Event.RESUMED_BY_ADMIN: frozenset(Cause),
}

IN_FORCE: Final = frozenset({Status.ACTIVE, Status.SUSPENDED})
"""Neither ended nor over: the causes say which of the two it is."""

MOVES: Final[Mapping[tuple[Status, Event], Status]] = {
    (Status.ACTIVE, Event.PAID): Status.ACTIVE,
    (Status.ACTIVE, Event.GRACE_ENDED): Status.SUSPENDED,
    (Status.ACTIVE, Event.DISPUTED): Status.SUSPENDED,
    (Status.ACTIVE, Event.DISPUTE_WON): Status.ACTIVE,
    (Status.ACTIVE, Event.REFUNDED): Status.SUSPENDED,
    (Status.ACTIVE, Event.REFUND_UNDONE): Status.ACTIVE,
    (Status.ACTIVE, Event.SUSPENDED_BY_ADMIN): Status.SUSPENDED,
    (Status.ACTIVE, Event.RESUMED_BY_ADMIN): Status.ACTIVE,
    (Status.ACTIVE, Event.EXTENDED_BY_ADMIN): Status.ACTIVE,
    (Status.ACTIVE, Event.LAPSED): Status.EXPIRED,
    (Status.ACTIVE, Event.CANCELLED): Status.CANCELLED,
    # In force: suspended as long as a cause is open after the event.
    (Status.SUSPENDED, Event.PAID): Status.ACTIVE,
    (Status.SUSPENDED, Event.GRACE_ENDED): Status.SUSPENDED,
    (Status.SUSPENDED, Event.DISPUTED): Status.SUSPENDED,
    (Status.SUSPENDED, Event.DISPUTE_WON): Status.ACTIVE,
    (Status.SUSPENDED, Event.REFUNDED): Status.SUSPENDED,
    (Status.SUSPENDED, Event.REFUND_UNDONE): Status.ACTIVE,
    (Status.SUSPENDED, Event.SUSPENDED_BY_ADMIN): Status.SUSPENDED,
    (Status.SUSPENDED, Event.RESUMED_BY_ADMIN): Status.ACTIVE,
    (Status.SUSPENDED, Event.EXTENDED_BY_ADMIN): Status.SUSPENDED,
    (Status.SUSPENDED, Event.LAPSED): Status.SUSPENDED,
    (Status.SUSPENDED, Event.CANCELLED): Status.CANCELLED,
    (Status.EXPIRED, Event.PAID): Status.ACTIVE,
    (Status.EXPIRED, Event.BOUGHT_AGAIN): Status.ACTIVE,
    (Status.EXPIRED, Event.EXTENDED_BY_ADMIN): Status.ACTIVE,
    (Status.EXPIRED, Event.LAPSED): Status.EXPIRED,
    (Status.EXPIRED, Event.CANCELLED): Status.CANCELLED,
    (Status.CANCELLED, Event.BOUGHT_AGAIN): Status.ACTIVE,
    (Status.CANCELLED, Event.CANCELLED): Status.CANCELLED,
}


def move(standing: Standing, event: Event) -> Standing:
    """State and open causes after `event`; IllegalMove where the table has none. An end closes every cause."""
    try:
        after = MOVES[standing.status, event]
    except KeyError:
        raise IllegalMove(f"a license that is {standing.status} cannot be {event.value}") from None
    if after not in IN_FORCE:
        return Standing(after)
    causes = standing.causes - CLOSES.get(event, NO_CAUSES)
    if event in OPENS:
        causes |= {OPENS[event]}
    return Standing(Status.SUSPENDED if causes else Status.ACTIVE, causes)
