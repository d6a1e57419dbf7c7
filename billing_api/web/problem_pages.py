"""Problem types: the page `/problems/<code>` that a problem's `type` links to (RFC 9457, 3.1.1).

Its text comes from core/problems.py.
"""

from litestar import MediaType, Response, get
from litestar.params import FromPath

from billing_api.access.permissions import Permission
from core.errors import RouteNotFound
from core.problems import PAGES


@get("/problems/{code:str}", permission=Permission.PUBLIC, media_type=MediaType.TEXT, include_in_schema=False)
async def show_problem(code: FromPath[str]) -> Response[bytes]:
    """What the code means, and what to do about it."""
    if code not in PAGES:
        raise RouteNotFound
    return Response(PAGES[code], media_type=MediaType.TEXT)
