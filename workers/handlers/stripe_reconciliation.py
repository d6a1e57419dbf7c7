"""Stripe sweep: the reconciliation with Stripe, every five minutes."""

import asyncio
from datetime import datetime
from typing import Final

from billing_api.operations.stripe_reconciliation.service import EVERY, StripeReconciliation
from core.clock import Clock
from core.parts import succeeded

_LOOK_EACH: Final = 30.0


class StripeSweep:
    def __init__(self, reconciliation: StripeReconciliation, clock: Clock) -> None:
        self._reconciliation = reconciliation
        self._clock = clock
        self._last: datetime | None = None

    async def run(self) -> None:
        while True:
            await self.look()
            succeeded()
            await asyncio.sleep(_LOOK_EACH)

    async def look(self) -> None:
        """Runs it where five minutes have passed since the last time, or with the first call."""
        now = self._clock()
        if self._last is None or now - self._last >= EVERY:
            await self._reconciliation.run()
            self._last = now
