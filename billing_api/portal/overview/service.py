"""Overview: reads what a customer's first page shows, in one transaction of the customer."""

from typing import Final

from billing_api.access.permissions import Principal
from billing_api.commerce.payments.schemas import InvoiceView
from billing_api.commerce.subscriptions.repository import usage_of
from billing_api.portal.overview import repository
from billing_api.portal.overview.schemas import Attention, Counts, LicenseCard, NextRenewal, Overview
from core.clock import Clock
from core.errors import Unauthenticated
from db.unit_of_work import Database

MOST_LICENSES: Final = 20
MOST_ATTENTION: Final = 20
MOST_INVOICES: Final = 5


class OverviewService:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def read(self, principal: Principal) -> Overview:
        now = self._clock()
        async with self._database.as_customer(principal.user_id) as tx:
            standing = await repository.standing(tx, principal.user_id, now)
            if standing is None or not standing.is_active:
                raise Unauthenticated("this account is not active any more: write to support")
            licenses = await repository.newest_licenses(tx, MOST_LICENSES)
            used = await usage_of(tx, [row.license.id for row in licenses])
            found, total = await repository.attention(tx, now, MOST_ATTENTION)
            next_period = await repository.next_period(tx, now)
            bills = await repository.newest_invoices(tx, MOST_INVOICES)
        needed = [Attention.of(one) for one in found]
        if standing.email_verified_at is None:
            needed, total = [Attention(kind="address_unverified"), *needed][:MOST_ATTENTION], total + 1
        return Overview(
            as_of=now,
            counts=Counts.of(standing),
            attention=needed,
            attention_total=total,
            licenses=[LicenseCard.of(row, used.get(row.license.id, {}), now) for row in licenses],
            next_renewal=None if next_period is None else NextRenewal.of(next_period),
            recent_invoices=[InvoiceView.of(row) for row in bills],
        )
