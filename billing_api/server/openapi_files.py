"""The application without anything behind it: what the OpenAPI document needs, without settings and servers."""

from litestar import Litestar

from billing_api.identity.sessions.cookies import RefreshCookie
from billing_api.server.app import declare, dependencies
from billing_api.server.openapi_config import openapi_config
from billing_api.server.routes import ROUTES
from billing_api.web.strict_request import StrictRequest


def described_app() -> Litestar:
    nobody = RefreshCookie(secure=True, origins=frozenset())
    app = Litestar(
        ROUTES,
        dependencies=dependencies(nobody),
        request_class=StrictRequest,
        openapi_config=openapi_config(),
        logging_config=None,
    )
    declare(app)
    return app
