"""Pin sweeper: each second finds holds that were pinned for a report that never came, and gives them back.

A pin does not expire, because a hold must not end between its report and the new total. It ends with the settlement,
which the relay carries. But the process that pinned it may have died before it wrote the report down. So a pin that is
older than a report may take, and has no settlement waiting, holds nothing any more.

Two workers at once find the same pins, and ending a hold twice is harmless.
"""

import asyncio
from contextlib import suppress
from typing import Final

from sqlalchemy import text

from core.hotstore.functions import FunctionsMissing
from core.hotstore.writer import Writer
from core.parts import beat, step, succeeded
from core.telemetry import logger
from db.unit_of_work import Database

_LOOK_EACH: Final = 1.0
_WITHIN: Final = 10.0
_MOST_A_BUCKET: Final = 100

_WAITING: Final = text(
    """
    SELECT encode(substring(license_key_hash FOR 16), 'hex'), reservation_id
    FROM hold_settlements JOIN licenses ON licenses.id = hold_settlements.license_id
    WHERE reservation_id = ANY (CAST(:reservations AS text[]))
    """
)


class PinSweeper:
    def __init__(self, database: Database, writer: Writer) -> None:
        self._database = database
        self._writer = writer

    async def run(self) -> None:
        while True:
            with suppress(FunctionsMissing):  # an empty store: nothing is pinned, and the rebuild fills it
                await self.look()
                succeeded()
            beat()
            await asyncio.sleep(_LOOK_EACH)

    async def look(self) -> int:
        """Gives back the holds whose report never came; says how many."""
        async with step(_WITHIN):
            old = await self._writer.old_pins(_MOST_A_BUCKET)
            if not old:
                return 0
            waiting = await self._waiting([reservation for _, reservation in old])
            given_back = [pin for pin in old if pin not in waiting]
            for h, reservation in given_back:
                await self._writer.settle(h, [reservation])
        if given_back:
            logger().warning("pins.given_back", number=len(given_back))
        return len(given_back)

    async def _waiting(self, reservations: list[str]) -> set[tuple[str, str]]:
        """The pins whose reports are recorded: the relay ends them with their totals."""
        async with self._database.as_system() as tx:
            rows = await tx.session.execute(_WAITING, {"reservations": reservations})
            return {(row[0], row[1]) for row in rows}
