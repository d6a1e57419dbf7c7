"""Billing details routes: to whom my invoices are made out."""

from litestar import Controller, get, put
from litestar.di import NamedDependency
from litestar.params import JSONBody

from billing_api.access.permissions import Permission, Principal
from billing_api.commerce.billing_details.schemas import BillingDetails, BillingDetailsGiven
from billing_api.commerce.billing_details.service import BillingDetailsService


class BillingDetailsController(Controller):
    path = "/me/billing-details"
    tags = ("payments",)

    @get("/", permission=Permission.OWN_PAYMENTS_READ)
    async def get_billing_details(
        self, principal: NamedDependency[Principal], billing_details: NamedDependency[BillingDetailsService]
    ) -> BillingDetails:
        """Read to whom my invoices are made out.

        The account's own name and company, until other details are given.
        """
        return await billing_details.read(principal)

    @put("/", permission=Permission.PURCHASE)
    async def put_billing_details(
        self,
        principal: NamedDependency[Principal],
        billing_details: NamedDependency[BillingDetailsService],
        data: JSONBody[BillingDetailsGiven],
    ) -> BillingDetails:
        """Say to whom my invoices are made out.

        From the next invoice on; those that exist stay as they are. Postal codes, states and tax ids are checked by
        country. What is left out is removed.
        """
        return await billing_details.replace(principal, data)
