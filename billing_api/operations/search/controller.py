"""Search over HTTP, for staff."""

from typing import Annotated

from litestar import Controller, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from billing_api.access.permissions import Permission, Principal
from billing_api.operations.search.schemas import SearchAnswer
from billing_api.operations.search.service import SearchService
from billing_api.web.parameters import STORABLE


class AdminSearchController(Controller):
    path = "/admin/search"
    tags = ("admin",)

    @get("/", permission=Permission.USERS_VIEW)
    async def search(
        self,
        principal: NamedDependency[Principal],
        search_service: NamedDependency[SearchService],
        q: Annotated[
            str,
            QueryParameter(
                min_length=1,
                max_length=200,
                pattern=STORABLE,
                description="A part of a mail address or of a name, the last four symbols of a license key, an id of "
                "Stripe's (cus_, sub_, in_, pi_), an invoice number, or an id of ours.",
            ),
        ],
    ) -> SearchAnswer:
        """Find users, licenses, subscriptions, invoices and payments by whatever somebody has at hand.

        The text is recognized by its form, and only what fits is asked. Case, and how letters are composed, do not
        count in names and addresses. Kinds that the caller may not see are left out.
        """
        return await search_service.search(principal, q)
