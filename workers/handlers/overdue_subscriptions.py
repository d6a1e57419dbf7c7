"""Overdue subscriptions: mirrored each half minute where our rows show that a webhook did not come."""

import asyncio
from typing import Final

from billing_api.commerce.stripe_mirror.overdue import mirror_overdue
from billing_api.commerce.stripe_mirror.service import Mirror
from core.clock import Clock
from core.parts import succeeded
from core.telemetry import logger
from db.unit_of_work import Database

_LOOK_EACH: Final = 30.0


class OverdueSubscriptions:
    def __init__(self, database: Database, mirror: Mirror, clock: Clock) -> None:
        self._database = database
        self._mirror = mirror
        self._clock = clock

    async def run(self) -> None:
        while True:
            await self.look()
            succeeded()
            await asyncio.sleep(_LOOK_EACH)

    async def look(self) -> int:
        """Mirrors what is overdue; says how many. Two workers at once do no harm: mirroring twice changes nothing."""
        found = await mirror_overdue(self._database, self._mirror, self._clock())
        if found:
            logger().info("subscriptions.overdue_mirrored", count=found)
        return found
