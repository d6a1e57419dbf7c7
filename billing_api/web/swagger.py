"""Swagger UI: the OpenAPI document as a page, with a script and a style sheet that are shipped with the API.

No other host is named: the page works where there is no way out, and nobody else learns who reads it. The page has the
same origin as the refresh cookie, so its policy lets these two files run and no other, and lets the script talk to our
origin only. Their hashes (Subresource Integrity) are those of the files in the npm package: anybody can compare them.

For another version: `npm pack swagger-ui-dist@VERSION`; `gzip -9 -n` the two files into swagger_ui/ together with the
licenses; then, for each of the two, `openssl dgst -sha384 -binary FILE | base64` below. Reasons:
docs/decisions/0042-openapi.md.
"""

import base64
import gzip
import hashlib
from functools import cache
from pathlib import Path
from string import Template
from typing import Any, Final

from litestar import Request, Response, get
from litestar.openapi.plugins import OpenAPIRenderPlugin
from litestar.params import FromPath
from typing_extensions import override

from billing_api.access.permissions import Permission
from billing_api.web.static_answer import StaticAnswer
from core.errors import RouteNotFound

PATHS: Final = frozenset({"/schema", "/schema/", "/schema/swagger"})
VERSION: Final = "5.35.0"

_FOLDER: Final = Path(__file__).parent / "swagger_ui"
_ASSETS: Final = f"/schema/assets/{VERSION}"
_SCRIPT: Final = "swagger-ui-bundle.js"
_STYLE: Final = "swagger-ui.css"
HASHES: Final = {
    _SCRIPT: "sha384-gjRm0bEPMeTmMh5jT2cHccIwCUZSTd8YC+j0d0sXw0MdGEfScduGpSyF3ZSSLkX9",
    _STYLE: "sha384-WlYgdmXYOOBWL5apwjDEZwN+U3HmXSSu5R6V5aGxEcf7z+KuRNwBhoxKVN1i3D5I",
}
_MEDIA_TYPES: Final = {_SCRIPT: "text/javascript; charset=utf-8", _STYLE: "text/css; charset=utf-8"}
_FOR_A_YEAR: Final = "public, max-age=31536000, immutable"
"""The address has the version: another version has another address."""

_START: Final = (
    "SwaggerUIBundle({url: '/schema/openapi.json', dom_id: '#interface', deepLinking: true, validatorUrl: null})"
)
_START_HASH: Final = base64.b64encode(hashlib.sha256(_START.encode()).digest()).decode()

POLICY: Final = (
    f"default-src 'none'; script-src 'self' 'sha256-{_START_HASH}'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
"""Inline styles stay allowed, because Swagger UI needs them. `validatorUrl: null`: it asks no validator elsewhere."""

_PAGE: Final = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="$style" integrity="$style_hash">
<script src="$script" integrity="$script_hash"></script>
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
            style=f"{_ASSETS}/{_STYLE}",
            style_hash=HASHES[_STYLE],
            script=f"{_ASSETS}/{_SCRIPT}",
            script_hash=HASHES[_SCRIPT],
            start=_START,
        ).encode()


@get("/assets/{version:str}/{name:str}", permission=Permission.PUBLIC, sync_to_thread=True)
def get_swagger_asset(request: Request[Any, Any, Any], version: FromPath[str], name: FromPath[str]) -> Response[bytes]:
    if version != VERSION or name not in HASHES:
        raise RouteNotFound("there is no such file: open /schema/swagger again")
    return _asset(name).answer(request.headers.get("if-none-match", ""), request.headers.get("accept-encoding", ""))


@cache
def _asset(name: str) -> StaticAnswer:
    compressed = (_FOLDER / f"{name}.gz").read_bytes()
    plain = gzip.decompress(compressed)
    return StaticAnswer(plain, compressed, media_type=_MEDIA_TYPES[name], cache_control=_FOR_A_YEAR)
