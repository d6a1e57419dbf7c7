"""Stand-in for Stripe that answers at once: every POST opens a Checkout Session.

The simulator of the devstack keeps books and costs more than what is measured here.

    python -m bench.api.stripe_stand_in PORT
"""

import asyncio
import sys
from itertools import count
from typing import Final, cast

import msgspec
import uvloop
from typing_extensions import override

from bench.contenders import HOST

_numbers: Final = count(1)
_HEAD_END: Final = b"\r\n\r\n"


class StandIn(asyncio.Protocol):
    """One connection. Its client sends one request after another, each with a Content-Length."""

    def __init__(self) -> None:
        self._received = b""
        self._transport: asyncio.WriteTransport | None = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's is not registered as one

    @override
    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(_HEAD_END)
        if found and len(body) >= _length(head):
            self._received = b""
            if self._transport is not None:
                self._transport.write(_answer())


def _length(head: bytes) -> int:
    _, named, rest = head.lower().partition(b"\r\ncontent-length:")
    return int(rest.partition(b"\r\n")[0]) if named else 0


def _answer() -> bytes:
    session_id = f"cs_test_{next(_numbers)}"
    body = msgspec.json.encode(
        {
            "id": session_id,
            "object": "checkout.session",
            "url": f"http://{HOST}/pay/{session_id}",
            "status": "open",
            "payment_status": "unpaid",
            "customer": "cus_bench",
            "subscription": None,
            "metadata": {},
        }
    )
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(StandIn, HOST, port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
