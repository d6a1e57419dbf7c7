"""Subscription routes, for staff."""

from typing import Annotated
from uuid import UUID

from litestar import Controller, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from billing_api.access.permissions import Permission, Principal
from billing_api.commerce.subscriptions.admin_repository import SubscriptionFilter
from billing_api.commerce.subscriptions.admin_schemas import AdminSubscriptionView, StaffCancelGiven
from billing_api.commerce.subscriptions.administration import SubscriptionAdministration
from billing_api.web.parameters import instant, reply
from billing_api.web.problems import documented
from core.errors import Conflict
from db.idempotency import Once
from db.models.commerce import SubscriptionStatus
from db.paging import Page, Paging


class AdminSubscriptionController(Controller):
    path = "/admin/subscriptions"
    tags = ("admin",)

    @get("/", permission=Permission.BILLING_VIEW)
    async def search_subscriptions(
        self,
        principal: NamedDependency[Principal],
        subscription_administration: NamedDependency[SubscriptionAdministration],
        paging: NamedDependency[Paging],
        status: Annotated[SubscriptionStatus | None, QueryParameter(description="Subscriptions in this state.")] = None,
        email: Annotated[
            str | None, QueryParameter(max_length=254, description="Subscriptions of the account with this address.")
        ] = None,
        license_id: Annotated[
            UUID | None, QueryParameter(description="Subscriptions that pay, or paid, for this license.")
        ] = None,
        plan_id: Annotated[UUID | None, QueryParameter(description="Subscriptions to this plan.")] = None,
        stripe_id: Annotated[
            str | None, QueryParameter(max_length=255, description="The subscription with this id at Stripe.")
        ] = None,
        ending: Annotated[
            bool | None, QueryParameter(description="True: subscriptions that end with their period.")
        ] = None,
        from_: Annotated[
            str | None,
            QueryParameter(name="from", description="Subscriptions made at this instant or later, RFC 3339."),
        ] = None,
        to: Annotated[
            str | None, QueryParameter(description="Subscriptions made before this instant, RFC 3339.")
        ] = None,
    ) -> Page[AdminSubscriptionView]:
        """Search subscriptions.

        Every condition that is given must hold. The newest first; ended ones too.
        """
        wanted = SubscriptionFilter(
            status=status,
            email=email,
            license_id=license_id,
            plan_id=plan_id,
            stripe_id=stripe_id,
            ending=ending,
            since=instant(from_, "from"),
            before=instant(to, "to"),
        )
        return await subscription_administration.page(principal, paging, wanted)

    @get("/{subscription_id:uuid}", permission=Permission.BILLING_VIEW)
    async def get_any_subscription(
        self,
        principal: NamedDependency[Principal],
        subscription_administration: NamedDependency[SubscriptionAdministration],
        subscription_id: FromPath[UUID],
    ) -> AdminSubscriptionView:
        """Read any customer's subscription.

        With its owner and its id at Stripe.
        """
        return await subscription_administration.one(principal, subscription_id)

    @post(
        "/{subscription_id:uuid}/cancel",
        permission=Permission.BILLING_CHANGE,
        step_up=True,
        status_code=200,
        responses={409: documented(Conflict)},
    )
    async def cancel_any_subscription(
        self,
        principal: NamedDependency[Principal],
        subscription_administration: NamedDependency[SubscriptionAdministration],
        once: NamedDependency[Once],
        subscription_id: FromPath[UUID],
        data: JSONBody[StaffCancelGiven],
    ) -> Response[AdminSubscriptionView]:
        """Cancel a customer's subscription.

        It ends with the paid period, or at once, and its licenses with it. While an invoice is unpaid it ends at once,
        and the invoice is void. Until the end of the period its owner may resume it.
        """
        return reply(await subscription_administration.cancel(principal, subscription_id, data, once), status_code=200)
