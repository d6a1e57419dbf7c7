"""OpenAPI document as JSON: encoded once for each process, compressed, and sent again only after a change.

It is a third of a megabyte that changes with a release. So it has an entity tag (RFC 9110, 8.8.3): a client that sends
the tag is answered 304. A client that accepts gzip gets a seventh of the bytes. `Cache-Control: no-cache` lets clients
store the document, but they must ask each time whether it is still current.
"""

from typing import Any

from litestar import Request
from litestar.enums import OpenAPIMediaType
from litestar.openapi.plugins import OpenAPIRenderPlugin
from typing_extensions import override

from billing_api.server.reference.document import encoded
from billing_api.web.static_answer import StaticAnswer


class OpenApiJson(OpenAPIRenderPlugin):
    """Litestar's handler accepts a Response from `render` as well as bytes."""

    def __init__(self) -> None:
        super().__init__(path="/openapi.json", media_type=OpenAPIMediaType.OPENAPI_JSON)
        self._document: StaticAnswer | None = None

    @override
    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> Any:
        if self._document is None:
            self._document = StaticAnswer.of(
                encoded(request.app, openapi_schema), media_type=OpenAPIMediaType.OPENAPI_JSON, cache_control="no-cache"
            )
        return self._document.answer(
            request.headers.get("if-none-match", ""), request.headers.get("accept-encoding", "")
        )
