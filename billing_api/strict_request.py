"""Bodies are what they say they are: `"1"` is no number.

Litestar decodes JSON first and coerces it into the handler's type afterwards, so that text passes for numbers. Here the
bytes are decoded straight into the type, as msgspec does it by default; a field that does not fit is told by its path.
"""

from typing import Any

import msgspec
from litestar import Request
from typing_extensions import override

from billing_api.problems import invalid_body


class StrictRequest(Request[Any, Any, Any]):
    @override
    async def json(self) -> Any:
        wanted = self.route_handler.parsed_data_field
        try:
            return msgspec.json.decode(await self.body(), type=Any if wanted is None else wanted.annotation)
        except (msgspec.DecodeError, UnicodeDecodeError) as failure:
            raise invalid_body(failure) from failure
