"""Portal configuration over HTTP: public, and kept by caches for a few minutes."""

from typing import Any

from litestar import Request, Response, get
from litestar.di import NamedDependency

from billing_api.access.permissions import Permission
from billing_api.portal.config.schemas import PortalConfig
from billing_api.web.conditional_get import NOT_MODIFIED
from billing_api.web.kept_answer import KeptAnswer


@get(
    "/config",
    permission=Permission.PUBLIC,
    tags=["portal"],
    responses=NOT_MODIFIED,
)
async def get_portal_config(
    request: Request[Any, Any, Any], portal_config: NamedDependency[KeptAnswer]
) -> Response[PortalConfig]:
    """Read what the portal has to know before anybody signs in.

    Features that are switched on, the seller, currencies, languages, and Stripe's publishable key.

    It needs no sign-in and is the same for everybody. Caches keep it for five minutes; after that, send the `ETag` as
    `If-None-Match`: an unchanged configuration is answered with 304.
    """
    return await portal_config.answer(request)
