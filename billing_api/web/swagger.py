"""Swagger UI: the OpenAPI document as a page, with scripts that are pinned by their hashes (Subresource Integrity).

Swagger UI is 1.5 MB that we do not ship: a browser loads it from a public CDN. The page has the same origin as the
refresh cookie, so a script that was changed at the CDN could use the cookie. The hashes refuse a changed script. The
page's policy lets no other script run, and lets this one talk to our origin only.

For another version run `npm pack swagger-ui-dist@VERSION`, then for each of the two files
`openssl dgst -sha384 -binary FILE | base64`.
"""

import base64
import hashlib
from string import Template
from typing import Any, Final

from litestar import Request
from litestar.openapi.plugins import OpenAPIRenderPlugin
from typing_extensions import override

PATHS: Final = frozenset({"/schema", "/schema/", "/schema/swagger"})

_CDN: Final = "https://cdn.jsdelivr.net/npm/swagger-ui-dist@5.18.2"
_SCRIPT: Final = f"{_CDN}/swagger-ui-bundle.js"
_SCRIPT_HASH: Final = "sha384-NXtFPpN61oWCuN4D42K6Zd5Rt2+uxeIT36R7kpXBuY9tLnZorzrJ4ykpqwJfgjpZ"
_STYLE: Final = f"{_CDN}/swagger-ui.css"
_STYLE_HASH: Final = "sha384-rcbEi6xgdPk0iWkAQzT2F3FeBJXdG+ydrawGlfHAFIZG7wU6aKbQaRewysYpmrlW"
_START: Final = "SwaggerUIBundle({url: '/schema/openapi.json', dom_id: '#interface', deepLinking: true})"
_START_HASH: Final = base64.b64encode(hashlib.sha256(_START.encode()).digest()).decode()

POLICY: Final = (
    f"default-src 'none'; script-src {_SCRIPT} 'sha256-{_START_HASH}'; style-src {_STYLE} 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
"""Inline styles stay allowed, because Swagger UI needs them."""

_PAGE: Final = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="$style" integrity="$style_hash" crossorigin="anonymous">
<script src="$script" integrity="$script_hash" crossorigin="anonymous"></script>
</head>
<body><div id="interface"></div><script>$start</script></body>
</html>
""")


class SwaggerPage(OpenAPIRenderPlugin):
    def __init__(self) -> None:
        super().__init__(path="/swagger")

    @override
    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        return _PAGE.substitute(
            title=openapi_schema["info"]["title"],
            style=_STYLE,
            style_hash=_STYLE_HASH,
            script=_SCRIPT,
            script_hash=_SCRIPT_HASH,
            start=_START,
        ).encode()
