"""The lock on a Stripe customer, between all processes: an advisory lock of PostgreSQL's, held while Stripe is read.

The law is that nobody waits for a partner or a lock with a pooled connection in hand, unless that wait is counted
(docs/architecture.md). Waiting for the lock costs no connection: it is tried as the first statement of a transaction,
and where it is taken the transaction ends, the connection goes back, and it is tried again a moment later. The holder
keeps its connection while Stripe is read, and that is counted: so many at once in a process.

Within a process calls of one customer take turns before they try, so that they do not try against each other. A few
may wait for their turn; one more is refused as busy. Thus one customer's calls take one place of those that read
Stripe, and one connection, however many there are.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

from billing_api.commerce.stripe_mirror import repository
from core.deadline import DEADLINE
from core.errors import Busy
from db.unit_of_work import Database, SystemTransaction

WAITS_FOR: Final = 8.0
"""Seconds; within a request, where somebody waits for an answer."""
AT_ONCE: Final = 4
"""Customers whose objects a process reads at a time; each holds a connection meanwhile."""
MOST_WAITING: Final = 4
"""Calls of one customer that wait in a process behind the one whose turn it is."""

_PAUSES: Final = (0.02, 0.2)
_BUSY: Final = "Stripe is being asked about this customer already; try again in a moment"


class _Turns:
    """Those of one customer in this process: one has its turn, the others wait."""

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self.present = 0


class CustomerLock:
    def __init__(self, database: Database, *, within: float) -> None:
        """`within`: seconds after which waiting is given up. The lock itself may be held for longer."""
        self._database = database
        self._within = within
        self._trying = asyncio.Semaphore(AT_ONCE)
        self._turns: dict[str, _Turns] = {}

    @asynccontextmanager
    async def held(self, customer_id: str) -> AsyncIterator[SystemTransaction]:
        """The transaction that holds the lock, and lets go of it with its end. Busy where it cannot be had in time."""
        until = asyncio.get_running_loop().time() + self._within
        if deadline := DEADLINE.get():
            until = min(until, deadline.partners_until)
        with self._place_among(customer_id) as turn:
            others_had_it = turn.locked()
            async with _taken(turn, until):
                if others_had_it:
                    await _pause(until)  # another process that waits has its chance: it cannot hear when this one ends
                while True:
                    # The place is for the try and for what its success leads to, not for the wait between two tries.
                    async with _taken(self._trying, until), self._database.as_system() as tx:
                        if await repository.try_to_lock_customer(tx, customer_id):
                            yield tx
                            return
                    await _pause(until)

    @contextmanager
    def _place_among(self, customer_id: str) -> Iterator[asyncio.Lock]:
        """The customer's turns, for as long as anybody waits for one."""
        turns = self._turns.setdefault(customer_id, _Turns())
        if turns.present > MOST_WAITING:
            raise Busy(_BUSY, retry_after=1)
        turns.present += 1
        try:
            yield turns.turn
        finally:
            turns.present -= 1
            if not turns.present:
                del self._turns[customer_id]


@asynccontextmanager
async def _taken(place: asyncio.Lock | asyncio.Semaphore, until: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout_at(until):
            await place.acquire()
    except TimeoutError:
        raise Busy(_BUSY, retry_after=1) from None
    try:
        yield
    finally:
        place.release()


async def _pause(until: float) -> None:
    """Of another length each time, lest two that wait try in step."""
    pause = random.uniform(*_PAUSES)  # noqa: S311  spreads tries, guards nothing
    if asyncio.get_running_loop().time() + pause > until:
        raise Busy(_BUSY, retry_after=1)
    await asyncio.sleep(pause)
