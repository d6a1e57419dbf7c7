"""Last use of API keys (write-behind): when a key last signed a usage report, to the minute, and from where.

It is written at most once a minute for a key, and many keys share one statement. Requests do not wait for it. A killed
process loses what it has not written; the key's next use writes it. The validator knows no SQL and writes nothing, so
validations do not show here.
"""

import asyncio
from datetime import datetime, timedelta
from typing import Final

from billing_api.licensing.api_keys import repository
from core.parts import Part
from core.telemetry import logger
from db.unit_of_work import Database

EACH: Final = timedelta(minutes=1)
_MOST_NOTED: Final = 10_000
_WITHIN: Final = 10.0


class LastUse:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._noted: dict[str, datetime] = {}
        self._waiting: dict[str, tuple[datetime, str]] = {}
        self._writing: asyncio.Task[None] | None = None
        self.part = Part("last_use")
        """Idle while there is nothing to write."""

    def is_due(self, key_id: str, last_used_at: datetime | None, now: datetime) -> bool:
        """Whether this use has to be noted. `last_used_at` is the value that was read with the key."""
        known = self._noted.get(key_id) or last_used_at
        return known is None or now - known >= EACH

    def note(self, key_id: str, now: datetime, address: str) -> None:
        """Plans the write."""
        if len(self._noted) >= _MOST_NOTED:
            self._noted.clear()
        self._noted[key_id] = now
        self._waiting[key_id] = (now, address)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())

    async def written(self) -> None:
        """Returns once everything noted is in the database, or its write has failed."""
        if self._writing is not None:
            await self._writing

    async def _write(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, {}
            self.part.beat()
            try:
                async with asyncio.timeout(_WITHIN), self._database.as_system() as tx:
                    addresses = {key_id: address for key_id, (_, address) in batch.items()}
                    await repository.note_use(tx, addresses, max(at for at, _ in batch.values()))
            except Exception as failure:  # noqa: BLE001  the next batches must be written after any failure
                logger().warning("api_key.use_not_noted", keys=len(batch), error=type(failure).__name__)
            else:
                self.part.succeeded()
        self.part.idle()
