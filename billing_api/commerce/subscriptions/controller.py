"""Subscription routes: read, preview, change, cancel, resume."""

from uuid import UUID

from litestar import Controller, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from billing_api.access.permissions import Permission, Principal
from billing_api.commerce.subscriptions.schemas import (
    ChangeGiven,
    ChangePreview,
    SubscriptionView,
)
from billing_api.commerce.subscriptions.service import SubscriptionService
from billing_api.web.parameters import (
    reply,
)
from billing_api.web.problems import documented
from core.errors import PaymentDeclined
from db.idempotency import Once
from db.paging import Page, Paging


class SubscriptionController(Controller):
    path = "/subscriptions"
    tags = ("subscriptions",)

    @get("/", permission=Permission.OWN_SUBSCRIPTIONS_READ, summary="My subscriptions")
    async def list_subscriptions(
        self,
        principal: NamedDependency[Principal],
        subscriptions: NamedDependency[SubscriptionService],
        paging: NamedDependency[Paging],
    ) -> Page[SubscriptionView]:
        return await subscriptions.page(principal, paging)

    @get("/{subscription_id:uuid}", permission=Permission.OWN_SUBSCRIPTIONS_READ, summary="One of my subscriptions")
    async def get_subscription(
        self,
        principal: NamedDependency[Principal],
        subscriptions: NamedDependency[SubscriptionService],
        subscription_id: FromPath[UUID],
    ) -> SubscriptionView:
        return await subscriptions.one(principal, subscription_id)

    @post(
        "/{subscription_id:uuid}/preview-change",
        permission=Permission.PURCHASE,
        status_code=200,
        summary="Preview a change of plan: its cost and its limits; nothing is changed",
    )
    async def preview_subscription_change(
        self,
        principal: NamedDependency[Principal],
        subscriptions: NamedDependency[SubscriptionService],
        subscription_id: FromPath[UUID],
        data: JSONBody[ChangeGiven],
    ) -> ChangePreview:
        return await subscriptions.preview(principal, subscription_id, data)

    @post(
        "/{subscription_id:uuid}/change",
        permission=Permission.PURCHASE,
        status_code=200,
        summary="Change the plan: an upgrade takes effect once it is paid, any other change with the next period",
        responses={402: documented(PaymentDeclined)},
    )
    async def change_subscription(
        self,
        principal: NamedDependency[Principal],
        subscriptions: NamedDependency[SubscriptionService],
        once: NamedDependency[Once],
        subscription_id: FromPath[UUID],
        data: JSONBody[ChangeGiven],
    ) -> Response[SubscriptionView]:
        return reply(await subscriptions.change(principal, subscription_id, data, once), status_code=200)

    @post(
        "/{subscription_id:uuid}/cancel",
        permission=Permission.PURCHASE,
        status_code=200,
        summary="Cancel at the end of the paid period",
    )
    async def cancel_subscription(
        self,
        principal: NamedDependency[Principal],
        subscriptions: NamedDependency[SubscriptionService],
        once: NamedDependency[Once],
        subscription_id: FromPath[UUID],
    ) -> Response[SubscriptionView]:
        return reply(await subscriptions.cancel(principal, subscription_id, once), status_code=200)

    @post(
        "/{subscription_id:uuid}/resume",
        permission=Permission.PURCHASE,
        status_code=200,
        summary="Withdraw a cancellation or a pending change",
    )
    async def resume_subscription(
        self,
        principal: NamedDependency[Principal],
        subscriptions: NamedDependency[SubscriptionService],
        once: NamedDependency[Once],
        subscription_id: FromPath[UUID],
    ) -> Response[SubscriptionView]:
        return reply(await subscriptions.resume(principal, subscription_id, once), status_code=200)
