"""Asks about each license once before a run, so that the run finds what caches keep when all are in use.

A few requests are under way at a time, in steps: all are sent, then all answers are read. So it never floods a server
whose cache is cold, and a million licenses take about a minute.
"""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from typing import Final

from loadtest.answer import BadAnswer, read
from loadtest.driver import CannotDrive, address_of

_AT_ONCE: Final = 64
_WAIT_SECONDS: Final = 30.0
_AGAIN_AFTER: Final = 0.2
_TRIES: Final = 100


def ask_each(url: str, requests: Iterator[bytes]) -> int:
    """Sends each request until it is answered 200; how many there were. CannotDrive where one is refused."""
    asked = 0
    with ExitStack() as open_ones:
        try:
            peers = [
                open_ones.enter_context(socket.create_connection(address_of(url), timeout=_WAIT_SECONDS))
                for _ in range(_AT_ONCE)
            ]
            while some := list(islice(requests, _AT_ONCE)):
                _ask(peers, some)
                asked += len(some)
        except (OSError, BadAnswer) as fault:
            raise CannotDrive(f"{url} does not answer before the run: {fault}") from fault
    return asked


def _ask(peers: list[socket.socket], requests: list[bytes]) -> None:
    """Those that are put off are sent again."""
    for _ in range(_TRIES):
        for peer, request in zip(peers, requests, strict=False):
            peer.sendall(request)
        answers = [_answer(peer) for peer, _ in zip(peers, requests, strict=False)]
        requests = [request for request, done in zip(requests, answers, strict=True) if not done]
        if not requests:
            return
        time.sleep(_AGAIN_AFTER)
    raise CannotDrive(f"before the run the server put a request off {_TRIES} times")


def _answer(peer: socket.socket) -> bool:
    """Whether it is 200; False where it is put off."""
    data = b""
    while (answer := read(data)) is None:
        more = peer.recv(65_536)
        if not more:
            raise CannotDrive("before the run the server closed a connection")
        data += more
    if answer.status != 200 and not answer.put_off:
        raise CannotDrive(f"before the run the server answered {answer.status}: {answer.body[:200].decode()}")
    return answer.status == 200
