"""Status server: answers GET on the worker's port with health for orchestrators and metrics for Prometheus.

As little HTTP as that takes: one request a connection, the path decides, headers are read and ignored. It listens where
only the operator's own network reaches it.
"""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Final, NamedTuple

from core.listeners import stop_accepting
from core.telemetry import logger

_REQUEST_WITHIN: Final = 5.0
_HEAD_LIMIT: Final = 16_384


class StatusPage(NamedTuple):
    body: bytes
    status: HTTPStatus = HTTPStatus.OK
    content_type: str = "application/json"


Handler = Callable[[], Awaitable[StatusPage]]
_NOT_FOUND: Final = StatusPage(b'{"status":"not found"}', HTTPStatus.NOT_FOUND)
_ONLY_GET: Final = StatusPage(b'{"status":"only GET is served here"}', HTTPStatus.METHOD_NOT_ALLOWED)
_BROKEN: Final = StatusPage(b'{"status":"failed"}', HTTPStatus.INTERNAL_SERVER_ERROR)


async def serve(host: str, port: int, pages: Mapping[str, Handler]) -> asyncio.Server:
    """Listens from now on; close the server to stop."""

    async def answer(reader: StreamReader, writer: StreamWriter) -> None:
        with suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(_REQUEST_WITHIN):
                head = await reader.readuntil(b"\r\n\r\n")
                page = await _page(head, pages)
                if not writer.is_closing():  # where the client has gone, uvloop raises RuntimeError
                    writer.write(_encoded(page, body=not head.startswith(b"HEAD ")))
                    await writer.drain()
        writer.close()

    return await asyncio.start_server(answer, host, port, limit=_HEAD_LIMIT)


async def close(server: asyncio.Server) -> None:
    """Closes once every waiting connection has been accepted; new ones are turned away meanwhile."""
    await stop_accepting(server.sockets)
    server.close()


async def _page(head: bytes, pages: Mapping[str, Handler]) -> StatusPage:
    method, _, rest = head.partition(b" ")
    if method not in {b"GET", b"HEAD"}:
        return _ONLY_GET
    handler = pages.get(rest.partition(b" ")[0].partition(b"?")[0].decode("latin-1"))
    if handler is None:
        return _NOT_FOUND
    try:
        return await handler()
    except Exception:  # noqa: BLE001  a page that fails must not take the process with it
        logger().exception("status.page_failed")
        return _BROKEN


def _encoded(page: StatusPage, *, body: bool) -> bytes:
    head = (
        f"HTTP/1.1 {page.status.value} {page.status.phrase}\r\n"
        f"Content-Type: {page.content_type}\r\nContent-Length: {len(page.body)}\r\n"
        "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + (page.body if body else b"")
