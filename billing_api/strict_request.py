"""Bodies are what they say they are: `"1"` is no number.

Litestar decodes JSON first and coerces it into the handler's type afterwards, so that text passes for numbers. Here the
bytes are decoded straight into the type, as msgspec does it by default; a field that does not fit is told by its path.
"""

import asyncio
from typing import Any, Final

import msgspec
from litestar import Request
from typing_extensions import override

from billing_api.problems import invalid_body
from core.errors import Refusal

_ARRIVES_WITHIN: Final = 20.0
"""Seconds. Granian bounds how long the head of a request may take (billing_api/__main__.py), the body nobody but us."""


class RequestTimeout(Refusal):
    status, code, title = 408, "request_timeout", "The request took too long to arrive"


class StrictRequest(Request[Any, Any, Any]):
    @override
    async def body(self) -> bytes:
        """Whole; RequestTimeout where its sender drips it, to keep a place in this process for himself."""
        try:
            async with asyncio.timeout(_ARRIVES_WITHIN):
                return await super().body()
        except TimeoutError:
            raise RequestTimeout from None

    @override
    async def json(self) -> Any:
        wanted = self.route_handler.parsed_data_field
        try:
            return msgspec.json.decode(await self.body(), type=Any if wanted is None else wanted.annotation)
        except (msgspec.DecodeError, UnicodeDecodeError) as failure:
            raise invalid_body(failure) from failure
