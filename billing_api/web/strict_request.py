"""Strict decoding of JSON bodies: the text `"1"` is not accepted where a number is required.

Litestar decodes JSON first and then converts it to the handler's type, so that text passes for numbers. Here the bytes
are decoded directly into the type, as msgspec does by default. The error names the wrong field by its path.
"""

from typing import Any

import msgspec
from litestar import Request
from typing_extensions import override

from core.errors import LengthRequired, UnsupportedMediaType
from core.field_errors import BAD_JSON, invalid_body
from core.headers import JSON, is_json


class StrictRequest(Request[Any, Any, Any]):
    def require_json(self) -> None:
        """LengthRequired or UnsupportedMediaType where the request's headers do not announce a JSON body."""
        if "content-length" not in self.headers and "transfer-encoding" not in self.headers:
            raise LengthRequired
        if not is_json(self.headers.get("content-type", JSON.decode()).encode("latin-1")):
            raise UnsupportedMediaType

    @override
    async def json(self) -> Any:
        self.require_json()
        wanted = self.route_handler.parsed_data_field
        try:
            return msgspec.json.decode(await self.body(), type=Any if wanted is None else wanted.annotation)
        except BAD_JSON as failure:
            raise invalid_body(failure, await self.body(), Any if wanted is None else wanted.annotation) from failure
