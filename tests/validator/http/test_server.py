"""Connections: order, time limits and their end, in one process, with an application whose answers the test delays."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import chain, pairwise
from time import monotonic
from typing import Any, Final

import pytest

from core.listeners import GRACE_SECONDS
from core.resp.waiting import Reply, Work
from validator.http import connection as connection_module
from validator.http import server as server_module
from validator.http.connection import Connection
from validator.http.limits import MOST_OWED, UNREAD_SECONDS
from validator.http.protocol import ProtocolFault, Request
from validator.http.server import Server
from validator.metrics import Tally

GET: Final = b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n"


class Echo:
    """Answers with the target; a target that begins with /wait waits until the test releases it."""

    def __init__(self) -> None:
        self.waiting: dict[bytes, Reply[None]] = {}

    def respond(self, request: Request) -> Work[bytes]:
        return self._respond(request)

    async def _respond(self, request: Request) -> bytes:
        if request.target == b"/crash":
            raise RuntimeError("on purpose")
        if request.target.startswith(b"/wait"):
            await self.waiting.setdefault(request.target, Reply())
        body = request.target + b" " + request.body
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)

    def refuse(self, _fault: Exception, _request: Request) -> bytes:
        return b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"

    def malformed(self, fault: ProtocolFault) -> bytes:
        return b"HTTP/1.1 %d x\r\nContent-Length: 0\r\n\r\n" % fault.status

    def let(self, target: bytes) -> None:
        self.waiting.pop(target).resolve(None)


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> bytes:
        return await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 5)

    async def answer(self) -> bytes:
        """The body of the next answer."""
        head = await self.head()
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        return await asyncio.wait_for(self.reader.readexactly(length), 5)

    async def rest(self) -> bytes:
        """Everything until the server ends the connection."""
        return await asyncio.wait_for(self.reader.read(), 5)


class House:
    """A server on a free port, and clients for it."""

    def __init__(self, server: Server, port: int) -> None:
        self.server = server
        self.port = port

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield Client(reader, writer)
        finally:
            writer.close()

    def only(self) -> Connection:
        (connection,) = chain.from_iterable(self.server._connections)
        return connection


@pytest.fixture
def app() -> Echo:
    return Echo()


@pytest.fixture
async def house(app: Echo) -> AsyncIterator[House]:
    at = socket.create_server(("127.0.0.1", 0))
    server = Server(app, Tally())
    await server.listen(at)
    yield House(server, at.getsockname()[1])
    await server.drain()


async def until(condition: Any) -> None:
    async with asyncio.timeout(5):
        while True:
            if condition():
                return
            await asyncio.sleep(0.005)


class TestOrder:
    async def test_pipelined_answers_come_in_the_order_of_their_requests(self, house: House, app: Echo) -> None:
        async with house.client() as client:
            await client.send(b"".join(GET % target for target in (b"/wait1", b"/a", b"/wait2", b"/b", b"/c")))
            await until(lambda: len(app.waiting) == 2)
            app.let(b"/wait2")
            await client.send(GET % b"/d")
            app.let(b"/wait1")
            bodies = [await client.answer() for _ in range(6)]
            assert [body.strip() for body in bodies] == [b"/wait1", b"/a", b"/wait2", b"/b", b"/c", b"/d"]

    async def test_a_crash_is_answered_in_its_place(self, house: House, app: Echo) -> None:
        async with house.client() as client:
            await client.send(GET % b"/wait" + GET % b"/crash" + GET % b"/a")
            client.writer.write_eof()
            await until(lambda: app.waiting)
            app.let(b"/wait")
            statuses = [line.split(b" ")[1] for line in (await client.rest()).split(b"HTTP/1.1")[1:]]
            assert statuses == [b"200", b"500", b"200"]

    async def test_a_fault_is_answered_after_what_came_before_it(self, house: House, app: Echo) -> None:
        async with house.client() as client:
            await client.send(GET % b"/wait" + b"garbage\r\n\r\n")
            await until(lambda: app.waiting)
            app.let(b"/wait")
            everything = await client.rest()
            assert everything.index(b" 200 ") < everything.index(b" 400 ")
            assert b"Connection: close" in everything

    async def test_a_client_that_leaves_does_not_stop_what_it_asked_for(self, house: House, app: Echo) -> None:
        async with house.client() as client:
            await client.send(GET % b"/wait")
            await until(lambda: app.waiting)
        app.let(b"/wait")  # its answer goes nowhere, and nobody is hurt
        await until(lambda: not house.server.connections)
        async with house.client() as client:
            await client.send(GET % b"/a")
            assert await client.answer() == b"/a "


class TestEnds:
    async def test_a_connection_is_kept(self, house: House) -> None:
        async with house.client() as client:
            for number in range(3):
                await client.send(GET % b"/%d" % number)
                assert await client.answer() == b"/%d " % number

    async def test_a_connection_is_closed_when_asked(self, house: House) -> None:
        async with house.client() as client:
            await client.send(b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert b"Connection: close" in await client.rest()

    async def test_http_1_0_is_kept_when_asked(self, house: House) -> None:
        async with house.client() as client:
            await client.send(b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            assert b"Connection: keep-alive" in await client.head()
            await client.reader.readexactly(3)
            await client.send(b"GET /a HTTP/1.0\r\n\r\n")
            assert (await client.rest()).endswith(b"/a ")

    async def test_a_client_that_has_said_all_is_still_answered(self, house: House, app: Echo) -> None:
        async with house.client() as client:
            await client.send(GET % b"/a" + GET % b"/wait")
            client.writer.write_eof()
            await until(lambda: app.waiting)
            app.let(b"/wait")
            assert (await client.rest()).endswith(b"/wait ")

    async def test_head_is_answered_without_a_body(self, house: House) -> None:
        async with house.client() as client:
            await client.send(b"HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n" + GET % b"/b")
            assert b"Content-Length: 3" in await client.head()
            assert await client.answer() == b"/b "

    async def test_a_waiting_client_is_told_to_go_on(self, house: House) -> None:
        async with house.client() as client:
            head = b"POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
            await client.send(head)
            assert await client.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
            await client.send(b"hi")
            assert await client.answer() == b"/a hi"


class TestPatience:
    async def test_a_request_must_arrive_in_time(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connection_module, "REQUEST_SECONDS", 2)
        async with house.client() as client:
            await client.send(b"GET / HTTP/1.1\r\n")
            await until(lambda: house.server.connections)
            connection = house.only()
            await until(lambda: connection._parser.in_midst)
            for _ in range(3):
                connection.look()
                await client.send(b"a: b\r\n")  # dribbling does not help
            assert b" 408 " in await client.rest()

    async def test_an_idle_client_is_seen_off(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connection_module, "IDLE_SECONDS", 2)
        async with house.client() as client:
            await client.send(GET % b"/a")
            await client.answer()
            for _ in range(3):
                house.only().look()
            assert await client.rest() == b""

    async def test_who_never_says_anything_is_seen_off_sooner(
        self, house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connection_module, "REQUEST_SECONDS", 2)
        async with house.client() as client:
            await until(lambda: house.server.connections)
            for _ in range(3):
                house.only().look()
            assert await client.rest() == b""

    async def test_each_is_looked_at_once_a_second(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        looked: list[float] = []
        monkeypatch.setattr(Connection, "look", lambda _: looked.append(monotonic()))
        async with house.client():
            await until(lambda: len(looked) == 3)
        assert all(later - earlier > 0.9 for earlier, later in pairwise(looked))

    async def test_who_waits_for_us_is_not(self, house: House, app: Echo) -> None:
        async with house.client() as client:
            await client.send(GET % b"/wait")
            await until(lambda: app.waiting)
            for _ in range(200):
                house.only().look()
            app.let(b"/wait")
            assert await client.answer() == b"/wait "

    async def test_who_does_not_read_is_not_read_from(self, house: House) -> None:
        async with house.client() as client:
            await until(lambda: house.server.connections)
            connection = house.only()
            connection._transport.set_write_buffer_limits(high=1024)
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a stream reads ahead by itself
            body = b"POST /%b HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n" % (b"a" * 10) + b"b" * 60_000
            sending = asyncio.create_task(client.send(body * 400))
            await until(lambda: connection._unread)
            assert not connection._reading
            for _ in range(UNREAD_SECONDS + 1):
                connection.look()
            await until(lambda: not house.server.connections)
            client.writer.transport.abort()
            await asyncio.gather(sending, return_exceptions=True)

    async def test_so_many_answers_may_be_owed_and_no_more(self, house: House, app: Echo) -> None:
        async with house.client() as client:
            await client.send(GET % b"/wait" * (MOST_OWED + 5))
            await until(lambda: house.server.connections and not house.only()._reading)
            app.let(b"/wait")
            for _ in range(MOST_OWED + 5):
                assert await client.answer() == b"/wait "
            assert house.only()._reading


class TestCrowds:
    async def test_a_client_too_many_is_told_so(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(server_module, "MOST_CONNECTIONS", 1)
        async with house.client() as first, house.client() as second:
            await first.send(GET % b"/a")
            assert await first.answer() == b"/a "
            assert b" 503 " in await second.rest()
        await until(lambda: not house.server.connections)
        async with house.client() as third:
            await third.send(GET % b"/a")
            assert await third.answer() == b"/a "


class TestDraining:
    async def test_what_has_begun_is_finished(self, house: House, app: Echo) -> None:
        async with house.client() as idle, house.client() as busy:
            await idle.send(GET % b"/a")
            assert await idle.answer() == b"/a "
            await busy.send(GET % b"/wait" + GET % b"/a")
            await until(lambda: app.waiting)
            drained = asyncio.create_task(house.server.drain())
            assert await idle.rest() == b""
            assert not drained.done()
            app.let(b"/wait")
            everything = await busy.rest()
            assert everything.count(b"HTTP/1.1 200 OK") == 2
            assert everything.count(b"Connection: close") == 1
            await asyncio.wait_for(drained, 5)

    async def test_a_request_on_the_wire_is_answered(self, house: House) -> None:
        async with house.client() as client:
            await client.send(GET % b"/a")
            await client.answer()
            drained = asyncio.create_task(house.server.drain())
            await until(lambda: house.server.draining)
            await client.send(GET % b"/b")
            assert (await client.rest()).endswith(b"/b ")
            await asyncio.wait_for(drained, 5)

    async def test_who_has_just_come_is_not_turned_away(self, house: House) -> None:
        async with house.client() as client:
            await until(lambda: house.server.connections)
            drained = asyncio.create_task(house.server.drain())
            await asyncio.sleep(GRACE_SECONDS * 2)
            await client.send(GET % b"/late")
            assert (await client.rest()).endswith(b"/late ")
            await asyncio.wait_for(drained, 5)
