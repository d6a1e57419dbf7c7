"""Distributed lock on a Stripe customer: an advisory lock of PostgreSQL, held while Stripe is read.

The rule is that no code waits for a partner or a lock while it holds a pooled connection, unless a semaphore limits how
many do (docs/architecture.md). Waiting for this lock holds no connection. The first statement of a transaction tries to
take the lock. If another process has it, the transaction ends, the connection goes back to the pool, and the next
attempt follows a moment later. The holder keeps its connection while Stripe is read; a semaphore limits the holders of
a process.

Within a process, the calls of one customer take turns before they try, so that they do not compete. A few may wait for
their turn; one more is refused as busy. So all calls of one customer together need one connection and one place of the
semaphore.
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
"""Seconds, within a request, where a client waits for the answer."""
AT_ONCE: Final = 4
"""Customers whose objects one process reads at a time; each needs a connection meanwhile."""
MOST_WAITING: Final = 4
"""Calls of one customer in one process that may wait for their turn."""

_PAUSES: Final = (0.02, 0.2)
_BUSY: Final = "Stripe is being asked about this customer already; try again in a moment"


class _Turns:
    """The calls of one customer in this process: one has its turn, the others wait."""

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self.present = 0


class CustomerLock:
    def __init__(self, database: Database, *, within: float) -> None:
        """`within`: seconds after which a wait ends as Busy. The lock itself may be held for longer."""
        self._database = database
        self._within = within
        self._trying = asyncio.Semaphore(AT_ONCE)
        self._turns: dict[str, _Turns] = {}

    @asynccontextmanager
    async def held(self, customer_id: str) -> AsyncIterator[SystemTransaction]:
        """The transaction that holds the lock until it ends. Busy where the lock is not free in time."""
        until = asyncio.get_running_loop().time() + self._within
        if deadline := DEADLINE.get():
            until = min(until, deadline.partners_until)
        # 1. Wait for this customer's turn within the process.
        with self._place_among(customer_id) as turn:
            others_had_it = turn.locked()
            async with _taken(turn, until):
                # 2. Give a waiting process a chance after another call of this one: it is not told when a lock is free.
                if others_had_it:
                    await _pause(until)
                # 3. Try until it succeeds. The semaphore's place is given back between two attempts.
                while True:
                    async with _taken(self._trying, until), self._database.as_system() as tx:
                        if await repository.try_to_lock_customer(tx, customer_id):
                            yield tx
                            return
                    await _pause(until)

    @contextmanager
    def _place_among(self, customer_id: str) -> Iterator[asyncio.Lock]:
        """The customer's turn lock. It is deleted when no call uses it any more."""
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
    """Waits for a random time (jitter), so that two waiting processes do not try at the same moments."""
    pause = random.uniform(*_PAUSES)  # noqa: S311  spreads attempts, protects nothing
    if asyncio.get_running_loop().time() + pause > until:
        raise Busy(_BUSY, retry_after=1)
    await asyncio.sleep(pause)
