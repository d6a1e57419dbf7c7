"""A customer's subscriptions."""

from uuid import UUID

from billing_api.access import Principal
from billing_api.paging import Page, fetch_page
from billing_api.subscriptions import repository
from billing_api.subscriptions.schemas import SubscriptionView
from db.unit_of_work import Database


class SubscriptionService:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, principal: Principal, *, limit: int, offset: int) -> Page[SubscriptionView]:
        async with self._database.as_customer(principal.user_id) as tx:
            rows, total = await fetch_page(tx.session, repository.newest_first(), limit=limit, offset=offset)
        return Page([SubscriptionView.of(row[0]) for row in rows], total, limit, offset)

    async def one(self, principal: Principal, subscription_id: UUID) -> SubscriptionView:
        async with self._database.as_customer(principal.user_id) as tx:
            return SubscriptionView.of(await repository.one(tx, subscription_id))
