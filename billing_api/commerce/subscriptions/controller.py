"""Subscription routes: read, preview, change, cancel, resume."""

from uuid import UUID

from litestar import Controller, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from billing_api.access.permissions import Permission, Principal
from billing_api.commerce.subscriptions.schemas import (
    CancelGiven,
    Cancelled,
    CancelOutcome,
    CancelPreviewed,
    ChangeGiven,
    ChangePreview,
    ChangePreviewed,
    PayGiven,
    PayOutcome,
    SubscriptionView,
)
from billing_api.commerce.subscriptions.service import SubscriptionService
from billing_api.web.parameters import (
    reply,
)
from billing_api.web.problems import documented
from core.errors import (
    Conflict,
    IdempotencyMismatch,
    NameThoseThatEnd,
    PaymentDeclined,
    PreviewStale,
    Unprocessable,
)
from db.idempotency import Once
from db.paging import Page, Paging


class SubscriptionController(Controller):
    path = "/subscriptions"
    tags = ("subscriptions",)

    @get("/", permission=Permission.OWN_SUBSCRIPTIONS_READ)
    async def list_subscriptions(
        self,
        principal: NamedDependency[Principal],
        subscriptions: NamedDependency[SubscriptionService],
        paging: NamedDependency[Paging],
    ) -> Page[SubscriptionView]:
        """List my subscriptions.

        The newest first.
        """
        return await subscriptions.page(principal, paging)

    @get("/{subscription_id:uuid}", permission=Permission.OWN_SUBSCRIPTIONS_READ)
    async def get_subscription(
        self,
        principal: NamedDependency[Principal],
        subscriptions: NamedDependency[SubscriptionService],
        subscription_id: FromPath[UUID],
    ) -> SubscriptionView:
        """Read one of my subscriptions.

        Its plan, its period, and a change that is pending.
        """
        return await subscriptions.one(principal, subscription_id)

    @post(
        "/{subscription_id:uuid}/preview-change",
        permission=Permission.PURCHASE,
        status_code=200,
        responses={422: documented(NameThoseThatEnd, Unprocessable)},
    )
    async def preview_subscription_change(
        self,
        principal: NamedDependency[Principal],
        subscriptions: NamedDependency[SubscriptionService],
        subscription_id: FromPath[UUID],
        data: JSONBody[ChangePreviewed],
    ) -> ChangePreview:
        """Preview a change of plan, or of the number of licenses.

        Its cost, line by line, and its limits, as if it were made now. Nothing is changed. Send the `proration_date`
        with the change: within ten minutes exactly this is charged.
        """
        return await subscriptions.preview(principal, subscription_id, data)

    @post(
        "/{subscription_id:uuid}/change",
        permission=Permission.PURCHASE,
        status_code=200,
        responses={
            402: documented(PaymentDeclined),
            409: documented(PreviewStale, Conflict),
            422: documented(NameThoseThatEnd, Unprocessable, IdempotencyMismatch),
        },
    )
    async def change_subscription(
        self,
        principal: NamedDependency[Principal],
        subscriptions: NamedDependency[SubscriptionService],
        once: NamedDependency[Once],
        subscription_id: FromPath[UUID],
        data: JSONBody[ChangeGiven],
    ) -> Response[SubscriptionView]:
        """Change the plan, or the number of licenses.

        An upgrade, also to more licenses, takes effect once it is paid; any other change takes effect with the next
        period. Where there are to be fewer licenses, `end_license_ids` names those that end. Where the bank
        wants the customer to confirm, the answer has `pending_change.payment_url`.
        """
        return reply(await subscriptions.change(principal, subscription_id, data, once), status_code=200)

    @post(
        "/{subscription_id:uuid}/cancel",
        permission=Permission.PURCHASE,
        status_code=200,
    )
    async def cancel_subscription(
        self,
        principal: NamedDependency[Principal],
        subscriptions: NamedDependency[SubscriptionService],
        once: NamedDependency[Once],
        subscription_id: FromPath[UUID],
        data: JSONBody[CancelGiven | None] = None,
    ) -> Response[Cancelled]:
        """Cancel a subscription.

        It ends with the paid period, or at once, and its license with it. Until the end of the period `resume`
        withdraws this. While an invoice is unpaid it ends at once: the invoice is void, and nothing more is charged.
        """
        wanted = data or CancelGiven()
        return reply(await subscriptions.cancel(principal, subscription_id, wanted, once), status_code=200)

    @post(
        "/{subscription_id:uuid}/preview-cancel",
        permission=Permission.PURCHASE,
        status_code=200,
    )
    async def preview_subscription_cancel(
        self,
        principal: NamedDependency[Principal],
        subscriptions: NamedDependency[SubscriptionService],
        subscription_id: FromPath[UUID],
        data: JSONBody[CancelPreviewed | None] = None,
    ) -> CancelOutcome:
        """Preview a cancellation.

        When it would end, and what would be credited. Nothing is changed.
        """
        return await subscriptions.preview_cancel(principal, subscription_id, data or CancelPreviewed())

    @post(
        "/{subscription_id:uuid}/pay",
        permission=Permission.PURCHASE,
        status_code=200,
        responses={402: documented(PaymentDeclined)},
    )
    async def pay_subscription(
        self,
        principal: NamedDependency[Principal],
        subscriptions: NamedDependency[SubscriptionService],
        once: NamedDependency[Once],
        subscription_id: FromPath[UUID],
        data: JSONBody[PayGiven | None] = None,
    ) -> Response[PayOutcome]:
        """Pay what is open.

        Tries the subscription's oldest open invoice now, with the card that is charged or another one of mine. Where
        the bank wants a confirmation, the answer says where.
        """
        return reply(await subscriptions.pay(principal, subscription_id, data or PayGiven(), once), status_code=200)

    @post(
        "/{subscription_id:uuid}/resume",
        permission=Permission.PURCHASE,
        status_code=200,
    )
    async def resume_subscription(
        self,
        principal: NamedDependency[Principal],
        subscriptions: NamedDependency[SubscriptionService],
        once: NamedDependency[Once],
        subscription_id: FromPath[UUID],
    ) -> Response[SubscriptionView]:
        """Withdraw a cancellation or a pending change.

        The subscription goes on as it is.
        """
        return reply(await subscriptions.resume(principal, subscription_id, once), status_code=200)
