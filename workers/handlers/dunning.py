"""Dunning sweep: each half minute, the steps after failed payments that are due, and the notices before renewals."""

import asyncio
from datetime import datetime
from typing import Final

from billing_api.commerce.dunning import renewal_notices, service
from billing_api.commerce.dunning.renewal_notices import RenewalNotices
from billing_api.commerce.dunning.service import Dunning
from core.parts import succeeded

_LOOK_EACH: Final = 30.0


class DunningSweep:
    def __init__(self, dunning: Dunning, notices: RenewalNotices) -> None:
        self._dunning = dunning
        self._notices = notices

    async def run(self) -> None:
        while True:
            await self.take_steps()
            await self.send_notices()
            succeeded()
            await asyncio.sleep(_LOOK_EACH)

    async def take_steps(self) -> None:
        while await self._dunning.take_due_steps() == service.AT_A_TIME:
            pass

    async def next_step(self) -> datetime | None:
        return await self._dunning.next_due()

    async def send_notices(self) -> None:
        while await self._notices.send_due() >= renewal_notices.AT_A_TIME:
            pass

    async def next_notice(self) -> datetime | None:
        return await self._notices.next_due()
