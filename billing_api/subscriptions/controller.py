"""Subscriptions over HTTP."""

from uuid import UUID

from litestar import Controller, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from billing_api.access import Permission, Principal
from billing_api.http import Limit, Offset
from billing_api.paging import Page
from billing_api.subscriptions.schemas import SubscriptionView
from billing_api.subscriptions.service import SubscriptionService


class SubscriptionController(Controller):
    path = "/subscriptions"
    tags = ("subscriptions",)

    @get("/", permission=Permission.OWN_ACCOUNT, summary="My subscriptions")
    async def list_subscriptions(
        self,
        principal: NamedDependency[Principal],
        subscriptions: NamedDependency[SubscriptionService],
        limit: Limit = 20,
        offset: Offset = 0,
    ) -> Page[SubscriptionView]:
        return await subscriptions.page(principal, limit=limit, offset=offset)

    @get("/{subscription_id:uuid}", permission=Permission.OWN_ACCOUNT, summary="One of my subscriptions")
    async def get_subscription(
        self,
        principal: NamedDependency[Principal],
        subscriptions: NamedDependency[SubscriptionService],
        subscription_id: FromPath[UUID],
    ) -> SubscriptionView:
        return await subscriptions.one(principal, subscription_id)
