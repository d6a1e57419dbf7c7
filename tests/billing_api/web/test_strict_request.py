"""Strict decoding: a request as its handlers read it."""

from litestar import Litestar
from litestar.testing import RequestFactory

from billing_api.web.strict_request import StrictRequest


async def test_a_body_is_read_once_and_kept(app: Litestar) -> None:
    request = RequestFactory(app=app).post("/api/v1/auth/login", data={"a": 1})
    strict = StrictRequest(request.scope, receive=request.receive)
    assert await strict.body() == await strict.body() == b'{"a":1}'
