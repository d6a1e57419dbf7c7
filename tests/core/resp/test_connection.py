"""RESP3 connection, with a peer that answers when the test says so."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import hiredis
import pytest
from typing_extensions import override

from core.resp.connection import (
    COMMAND_TICKS,
    NoReply,
    RedisConnection,
    pack,
)


class Peer(asyncio.Protocol):
    """The server's end: keeps what it receives, sends what the test says."""

    def __init__(self) -> None:
        self.received = b""
        self.writes = 0
        self.lost = False

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    @override
    def data_received(self, data: bytes) -> None:
        self.received += data
        self.writes += 1

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True  # however it came about
        del exc

    def say(self, *replies: bytes) -> None:
        self.transport.write(b"".join(replies))


class Line:
    """Both ends, and what was received."""

    def __init__(self, peer: Peer, connection: RedisConnection, pushes: list[Any]) -> None:
        self.peer = peer
        self.connection = connection
        self.pushes = pushes


async def until(condition: Any) -> None:
    async with asyncio.timeout(5):
        while True:
            if condition():
                return
            await asyncio.sleep(0.002)


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    loop = asyncio.get_running_loop()
    peer = Peer()
    server = await loop.create_server(lambda: peer, "127.0.0.1", 0)
    pushes: list[Sequence[Any]] = []
    lost: list[bool] = []
    _, connection = await loop.create_connection(
        lambda: RedisConnection(pushes.append, lambda: lost.append(True)), *server.sockets[0].getsockname()
    )
    await until(lambda: hasattr(peer, "transport"))
    yield Line(peer, connection, pushes)
    connection.close()
    await until(lambda: lost and peer.lost)
    server.close()


async def test_commands_of_one_turn_leave_in_one_write(line: Line) -> None:
    for number in range(50):
        line.connection.call(pack("ECHO", number))
    await until(lambda: line.peer.received.count(b"ECHO") == 50)
    assert line.peer.writes == 1


async def test_many_do_not_wait_for_the_end_of_the_turn(line: Line) -> None:
    for _ in range(130):
        line.connection.call(pack("PING"))
    assert len(line.connection._out) == 2
    await until(lambda: line.peer.received.count(b"PING") == 130)


async def test_replies_belong_to_their_commands(line: Line) -> None:
    replies = [line.connection.call(pack("ECHO", number)) for number in range(100)]
    line.peer.say(*[b":%d\r\n" % number for number in range(100)])
    await until(lambda: replies[-1].done)
    assert [reply.value for reply in replies] == list(range(100))


async def test_pushes_between_replies_are_nobody_s_reply(line: Line) -> None:
    first, second = line.connection.call(pack("A")), line.connection.call(pack("B"))
    push = b">2\r\n$10\r\ninvalidate\r\n*1\r\n$3\r\nkey\r\n"
    line.peer.say(b"+a\r\n", push, b"+b\r\n", b">2\r\n$10\r\ninvalidate\r\n_\r\n")
    await until(lambda: len(line.pushes) == 2)
    assert (first.value, second.value) == (b"a", b"b")
    assert [list(push) for push in line.pushes] == [[b"invalidate", [b"key"]], [b"invalidate", None]]


async def test_false_is_a_reply(line: Line) -> None:
    first, second = line.connection.call(pack("A")), line.connection.call(pack("B"))
    line.peer.say(b"#f\r\n:1\r\n")
    await until(lambda: second.done)
    assert (first.value, second.value) == (False, 1)


async def test_an_error_is_a_value(line: Line) -> None:
    reply = line.connection.call(pack("A"))
    line.peer.say(b"-LOADING wait\r\n")
    await until(lambda: reply.done)
    assert isinstance(reply.value, hiredis.ReplyError)


async def test_a_late_reply_reaches_nobody_else(line: Line) -> None:
    """The bug redis-py#2624: an await that was given up shifted all replies by one."""
    given_up = line.connection.call(pack("SLOW"))
    for _ in range(COMMAND_TICKS + 1):
        assert not given_up.done
        line.connection.tick()
    assert isinstance(given_up.value, NoReply)
    after = line.connection.probe(pack("NEXT"))
    line.peer.say(b"+slow\r\n+next\r\n")
    await until(lambda: after.done)
    assert after.value == b"next"
    assert isinstance(given_up.value, NoReply)


async def test_only_what_is_overdue_is_given_up(line: Line) -> None:
    old = line.connection.call(pack("OLD"))
    for _ in range(COMMAND_TICKS - 1):
        line.connection.tick()
    young = line.connection.call(pack("YOUNG"))
    line.connection.tick()
    line.connection.tick()
    assert isinstance(old.value, NoReply)
    assert not young.done


async def test_silence_opens_the_breaker_and_a_word_closes_it(line: Line) -> None:
    line.connection.call(pack("A"))
    for _ in range(COMMAND_TICKS + 1):
        line.connection.tick()
    refused = line.connection.call(pack("B"))
    assert isinstance(refused.value, NoReply)
    probe = line.connection.probe(pack("C"))
    await until(lambda: b"C" in line.peer.received)
    assert b"$1\r\nB\r\n" not in line.peer.received
    line.peer.say(b"+a\r\n+c\r\n")
    await until(lambda: probe.done)
    again = line.connection.call(pack("D"))
    line.peer.say(b"+d\r\n")
    await until(lambda: again.done)
    assert again.value == b"d"


async def test_a_stall_of_this_process_is_not_the_servers(line: Line) -> None:
    """After any pause a reply that is already in the socket is read before its command counts as late."""
    reply = line.connection.call(pack("A"))
    await until(lambda: line.peer.received)
    line.peer.say(b"+a\r\n")
    line.connection.tick()  # one turn of the timer, be it an hour after the last
    await until(lambda: reply.done)
    assert reply.value == b"a"


async def test_waiting_is_told_in_ticks(line: Line) -> None:
    assert line.connection.tick() == 0
    line.connection.call(pack("A"))
    assert [line.connection.tick() for _ in range(3)] == [1, 2, 3]


async def test_what_is_no_resp_ends_the_connection(line: Line) -> None:
    reply = line.connection.call(pack("A"))
    line.peer.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await until(lambda: reply.done)
    assert isinstance(reply.value, NoReply)
    assert not line.connection.alive


async def test_a_lost_connection_answers_nobody(line: Line) -> None:
    replies = [line.connection.call(pack("A")) for _ in range(3)]
    line.peer.transport.abort()
    await until(lambda: not line.connection.alive)
    assert all(isinstance(reply.value, NoReply) for reply in replies)
    assert isinstance(line.connection.probe(pack("A")).value, NoReply)
