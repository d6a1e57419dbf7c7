"""Checkout routes, and the page to which Stripe sends the browser back."""

from typing import Annotated
from uuid import UUID

from litestar import Controller, MediaType, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from billing_api.access.permissions import Permission, Principal
from billing_api.commerce.checkout import return_page
from billing_api.commerce.checkout.schemas import (
    CheckoutView,
    StartCheckout,
    StartedCheckout,
)
from billing_api.commerce.checkout.service import RETURN_PATH, CheckoutService
from billing_api.web.parameters import reply
from billing_api.web.problems import documented
from core.errors import IdempotencyMismatch, TrialUsed, Unprocessable
from db.idempotency import Once


class CheckoutController(Controller):
    path = "/checkout/sessions"
    tags = ("checkout",)

    @post(
        "/",
        permission=Permission.PURCHASE,
        responses={422: documented(Unprocessable, TrialUsed, IdempotencyMismatch)},
    )
    async def start_checkout(
        self,
        principal: NamedDependency[Principal],
        checkouts: NamedDependency[CheckoutService],
        once: NamedDependency[Once],
        data: JSONBody[StartCheckout],
    ) -> Response[StartedCheckout]:
        """Start a purchase.

        Send the customer to the `url` of the answer, Stripe's payment page. The license is issued once Stripe confirms
        the payment; `checkout/sessions/{session_id}` tells. An order that cannot be carried out is refused with 422,
        and `errors` says which field. Send an Idempotency-Key: a retry gets the same page instead of a second purchase.
        """
        return reply(await checkouts.start(principal, data, once), status_code=201)

    @get("/{session_id:uuid}", permission=Permission.PURCHASE)
    async def get_checkout(
        self,
        principal: NamedDependency[Principal],
        checkouts: NamedDependency[CheckoutService],
        session_id: FromPath[UUID],
    ) -> CheckoutView:
        """Read the state of a purchase.

        An open purchase is read from Stripe first, so that nobody has to wait for a webhook. `license_id` is there once
        it is paid.
        """
        return await checkouts.one(principal, session_id)


@get(RETURN_PATH, permission=Permission.PUBLIC, media_type=MediaType.HTML, include_in_schema=False)
async def checkout_return(
    checkouts: NamedDependency[CheckoutService],
    session_id: FromQuery[UUID],
    cancelled: Annotated[bool, QueryParameter()] = False,  # noqa: FBT002  a query parameter, always named
) -> Response[str]:
    """Shows the state of the purchase. Without a login: the address is secret, and the page shows nothing else."""
    outcome = await checkouts.refresh(session_id)
    page = return_page.page(outcome, left=cancelled)
    return Response(page, media_type=MediaType.HTML, headers=return_page.HEADERS)
