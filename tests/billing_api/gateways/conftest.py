"""A partner over real HTTP, with answers that the test sets."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.support.callers import HOST
from tests.support.server_thread import serving


class Partner:
    """Answers every request with the bytes of `answer`; None closes the connection. `endless` never stops sending."""

    def __init__(self) -> None:
        self.answer: bytes | None = None
        self.endless = False
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if self.answer is not None:
            writer.write(self.answer)
            await writer.drain()
        while self.endless and not (reader.at_eof() or writer.is_closing()):  # a reset is no end of file
            writer.write(b".")
            await asyncio.sleep(0.02)
        writer.close()
        await writer.wait_closed()

    def says(self, status: int, body: str = "", **headers: str) -> None:
        lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body.encode())}", "Connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.answer = ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


@pytest.fixture
async def partner() -> AsyncIterator[Partner]:
    partner = Partner()
    with serving(partner.serve) as port:
        partner.url = f"http://{HOST}:{port}"
        yield partner
