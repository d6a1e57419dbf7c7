"""Uses of sessions: when each was last seen, written behind the answers, many in one statement.

A session's owner sees where the account is signed in, to the minute. So the instant is not worth a write in the way of
a request: it is noted, and written a second later. A killed process loses what it noted in that second.
"""

import asyncio
from datetime import datetime
from typing import Final
from uuid import UUID

from billing_api.identity.sessions import repository
from core.telemetry import logger
from db.unit_of_work import Database

WRITTEN_AFTER: Final = 1.0
_MOST: Final = 10_000
"""Sessions that are noted at a time. One beyond that is noted at its next use."""


class SessionUses:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._noted: dict[UUID, datetime] = {}
        self._writing: asyncio.Task[None] | None = None

    def note(self, session_id: UUID, at: datetime) -> None:
        if len(self._noted) < _MOST:
            self._noted[session_id] = at
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write_later())

    async def close(self) -> None:
        """Writes what is noted."""
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)
        await self.write()

    async def _write_later(self) -> None:
        try:
            while self._noted:
                await asyncio.sleep(WRITTEN_AFTER)
                await self.write()
        finally:
            self._writing = None

    async def write(self) -> None:
        """Writes what is noted by now. A failure is logged, and what was noted is lost."""
        noted, self._noted = self._noted, {}
        if not noted:
            return
        try:
            async with self._database.as_system() as tx:
                await repository.touch(tx, noted)
        except asyncio.CancelledError:
            self._noted = noted | self._noted  # interrupted by `close`, which writes it then
            raise
        except Exception as failure:  # noqa: BLE001  whatever it was, no request depends on it
            logger().warning("sessions.uses_lost", sessions=len(noted), error=type(failure).__name__)
