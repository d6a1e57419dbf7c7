"""Connection budget: how many connections each part of a process, and each kind of job, may hold at a time.

The pool is their sum. So nobody waits for a connection that another job holds while that job waits for a partner or a
lock: every such wait is counted here. A part or a kind that is not declared keeps the process from starting. How many
connections PostgreSQL has to take follows from this: devstack/choices.py, compose.yaml, docs/operations.md.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from core.jobs import (
    AlignAccount,
    AlignCollection,
    DeliverMail,
    EndSubscription,
    ForgetCustomer,
    Job,
    MailResetLink,
    ProcessWebhook,
    Provision,
    SendRefund,
    UpdateStripeCustomer,
)
from workers.jobs.dispatch import Work


class Room(NamedTuple):
    """Jobs of a kind at a time, and what each of them holds."""

    at_once: int
    connections: int = 1


JOBS: Final[Mapping[type[Job], Room]] = {
    ProcessWebhook: Room(6),
    Provision: Room(4, connections=2),  # the lock's, while NextPanel is asked, and another to read and write
    AlignAccount: Room(4, connections=2),  # likewise
    DeliverMail: Room(4),
    MailResetLink: Room(2),
    ForgetCustomer: Room(1),
    UpdateStripeCustomer: Room(1),
    SendRefund: Room(1),
    EndSubscription: Room(1),
    AlignCollection: Room(1),
}

PARTS: Final[Mapping[str, int]] = {
    "listen": 0,  # one of its own, beside the pool
    "relay": 1,
    "rebuild": 2,  # the lock's and a page's
    "pins": 1,
    "reconcile": 3,  # the lock's, and while it waits for a rebuild those of the rebuild
    "audit": 2,  # the lock's and a batch's
    "leases": 1,
    "overdue": 1,
    "dunning": 1,
    "stripe": 1,
    "partner_lane": 3,  # one looks for due jobs, two look at one job each
    "arq": 1,  # periodic tasks take turns
    "health": 0,  # one of its own, likewise
    "status": 1,  # metrics, or the agenda of a devstack
}

POOL: Final = sum(room.at_once * room.connections for room in JOBS.values()) + sum(PARTS.values())
BESIDE_THE_POOL: Final = 2
"""LISTEN (workers/process/listening.py) and the look at PostgreSQL's health (db/condition.py) have a connection
each."""


class Undeclared(Exception):
    """A part or a kind of job would use connections that are not counted."""


def check(parts: Iterable[str], works: Iterable[Work[Any]]) -> None:
    """Raises Undeclared where what is about to run is not what was declared."""
    faults = [f"the part {name!r}" for name in parts if name not in PARTS]
    faults += [
        f"the kind of job {work.kind.__name__!r}, {work.at_once} at once"
        for work in works
        if JOBS.get(work.kind) != Room(work.at_once, work.connections)
    ]
    if faults:
        raise Undeclared(f"declare in workers/jobs/connection_budget.py: {'; '.join(faults)}")
