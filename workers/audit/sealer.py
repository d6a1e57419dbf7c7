"""Hash chain: seals the rows of the audit trail, one after another, shortly after each has committed.

The chain (core/crypto/audit_chain.py) does not follow the ids, because rows commit in another order: it follows the
sealing. Every committed row without a seal is next. A row that commits late is sealed late, with a lower id at a higher
position. Nothing has to be known about open transactions, whose rows cannot be seen.

A trigger writes the rows that wait into `audit_unsealed`, in the row's own transaction. One transaction adds the seals
and takes the waiting rows away, under an advisory lock. So a kill leaves all of it done or nothing. A second worker
finds the lock taken. If the lock was lost with its connection, that worker finds the position taken.

The newest link goes to the log and to Prometheus, which the database's owner does not own. That is the anchor: it shows
a chain that was cut off at its end. A worker also remembers the last link it has seen, and stops sealing where that
link is gone: a chain that grew on over a cut would look whole again.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from billing_api.operations.audit import repository
from core.clock import Clock
from core.crypto.audit_chain import EMPTY, AuditChain, Entry, Head, same
from core.parts import step, succeeded
from core.telemetry import logger
from db.unit_of_work import Database, SystemTransaction
from workers.process.advisory_lock import only_one

_ONE_AT_A_TIME: Final = 0x6E70_6175  # any constant: the holder of this advisory lock seals
_LOOK_EACH: Final = 2.0
_AT_ONCE: Final = 500
"""Rows in one transaction."""


class ChainCut(Exception):
    """The chain no longer contains a link that this process has seen in it."""


class AuditSealer:
    def __init__(
        self,
        database: Database,
        chain: AuditChain,
        clock: Clock,
        *,
        whole: Callable[[bool], None] = lambda _whole: None,
    ) -> None:
        """`whole`: told after each look whether the chain still holds what was seen in it."""
        self._database = database
        self._chain = chain
        self._clock = clock
        self._whole = whole
        self._seen = EMPTY

    async def run(self) -> None:
        """For ever."""
        while True:
            await self.catch_up()
            succeeded()
            await asyncio.sleep(_LOOK_EACH)

    async def catch_up(self) -> int:
        """Seals all that waits, unless another worker is at it; answers how many rows it sealed."""
        sealed = 0
        async with only_one(self._database, _ONE_AT_A_TIME) as alone:
            while alone and (some := await self._seal_some()):
                sealed += some
        return sealed

    async def _seal_some(self) -> int:
        async with step(), self._database.as_system() as tx:
            await self._check(tx)
            head = await repository.head(tx)
            entries = await repository.unsealed(tx, _AT_ONCE)
            head = await self._seal(tx, head, entries)
        if head != self._seen:
            self._seen = head
            logger().info("audit.sealed", rows=len(entries), head=head.text, kid=self._chain.current)
        return len(entries)

    async def _seal(self, tx: SystemTransaction, head: Head, entries: list[Entry]) -> Head:
        if not entries:
            return head
        now = self._clock()
        links = []
        for entry in entries:
            head = self._chain.seal(head, entry, now)
            links.append((entry, head))
        await repository.add_seals(tx, self._chain.current, now, links)
        return head

    async def _check(self, tx: SystemTransaction) -> None:
        if self._seen == EMPTY:
            return
        seal = await repository.seal_at(tx, self._seen.position)
        whole = seal is not None and same(seal, self._seen.seal)
        self._whole(whole)
        if not whole:
            logger().error("audit.chain_cut", lost=self._seen.text)
            raise ChainCut(f"the audit chain no longer contains {self._seen.text}; see docs/operations.md")
