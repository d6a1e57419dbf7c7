"""Overview over HTTP."""

from litestar import get
from litestar.di import NamedDependency

from billing_api.access.permissions import Permission, Principal
from billing_api.portal.overview.schemas import Overview
from billing_api.portal.overview.service import OverviewService


@get("/overview", permission=Permission.OWN_ACCOUNT, tags=["portal"])
async def get_overview(principal: NamedDependency[Principal], overviews: NamedDependency[OverviewService]) -> Overview:
    """Read what the first page of my account shows.

    Licenses with their usage, what needs attention, what is renewed next, and invoices. It is bounded: the newest 20
    licenses, the 20 most urgent things, 5 invoices; `counts` and `attention_total` say how many there are. It reads our
    own tables and asks neither Stripe nor the panels.
    """
    return await overviews.read(principal)
