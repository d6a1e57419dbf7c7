"""Overview: reads what a customer's first page shows, in one statement."""

from billing_api.access.permissions import Principal
from billing_api.portal.overview import repository
from billing_api.portal.overview.schemas import Overview
from core.clock import Clock
from core.errors import Unauthenticated
from db.reads import CustomerReads


class OverviewService:
    def __init__(self, reads: CustomerReads, clock: Clock) -> None:
        self._reads = reads
        self._clock = clock

    async def read(self, principal: Principal) -> Overview:
        now, user_id = self._clock(), principal.user_id
        rows = await self._reads.rows(user_id, repository.OVERVIEW, repository.names_of(user_id, now))
        if not rows or not rows[0].is_active:
            raise Unauthenticated("this account is not active any more: write to support")
        return Overview.read(rows[0], now, most_attention=repository.MOST_ATTENTION)
