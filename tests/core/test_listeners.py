"""Listening sockets are closed without resetting a connection, on real sockets."""

import asyncio
import socket
import time
from collections.abc import Iterator

import pytest

from core.listeners import own_listeners, stop_accepting, turn_away, waiting

HOST = "127.0.0.1"


@pytest.fixture(params=[socket.AF_INET, socket.AF_INET6])
def listener(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    with socket.socket(request.param) as made:
        made.bind((HOST if request.param == socket.AF_INET else "::1", 0))
        made.listen(64)
        made.setblocking(False)  # the standard library's own way of saying it
        yield made


def connect(listener: socket.socket, seconds: float = 5.0) -> socket.socket:
    return socket.create_connection(listener.getsockname()[:2], timeout=seconds)


def test_who_waits_to_be_accepted_is_counted(listener: socket.socket) -> None:
    assert waiting(listener) == 0
    with connect(listener), connect(listener):
        assert waiting(listener) == 2
        listener.accept()[0].close()
        assert waiting(listener) == 1


def test_who_is_connected_is_served_and_who_comes_now_is_not(listener: socket.socket) -> None:
    with connect(listener) as early:
        early.sendall(b"before")
        turn_away(listener)
        with pytest.raises(TimeoutError):
            connect(listener, seconds=0.3)
        early.sendall(b" and after")
        accepted, _ = listener.accept()
        with accepted:
            accepted.sendall(b"served")
            assert early.recv(64) == b"served"
            received = b""
            while len(received) < len(b"before and after"):
                received += accepted.recv(64)


async def test_it_can_be_closed_once_all_have_been_accepted(listener: socket.socket) -> None:
    clients = [connect(listener) for _ in range(20)]
    stopping = asyncio.create_task(stop_accepting([listener]))
    await asyncio.sleep(0.3)
    assert not stopping.done()
    accepted = [listener.accept()[0] for _ in clients]
    async with asyncio.timeout(5):
        await stopping
    where = listener.getsockname()[:2]
    listener.close()
    for at, client in zip(accepted, clients, strict=True):
        at.sendall(b"served")
        assert client.recv(64) == b"served"
        at.close()
        client.close()
    began = time.monotonic()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(where, timeout=5)
    assert time.monotonic() - began < 1


def test_a_process_finds_its_own_listeners(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    with connect(listener):
        found = own_listeners(port)
        assert [one.getsockname() for one in found] == [listener.getsockname()]
        assert found[0].fileno() != listener.fileno()
        assert waiting(found[0]) == 1
        found[0].close()
    assert own_listeners(1) == []
