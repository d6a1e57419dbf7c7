"""Connection of one client: pipelining (RFC 9112, 9.3.2), backpressure, time limits, and its end.

Each request goes to its handler at once. Answers are written in the order of the requests, in whatever order they
become ready: while nothing waits, an answer is written immediately; behind the first one that waits, answers queue.

The costs of a client are bounded (limits.py): the time for one request, the time for which answers stay unread, and the
number of answers that are owed. While a client does not read, nothing is read from it. All this is checked once a
second, so no request needs a timer.

A connection that we end is first shut for writing, and read for a moment longer. Closing it with unread bytes would
make the kernel send a reset, which can destroy our last answer on its way.
"""

import asyncio
from time import perf_counter
from typing import Any, Final, Protocol, cast

from typing_extensions import override

from core.resp.waiting import Reply, Work, drive
from validator.http.heads import Heads
from validator.http.limits import IDLE_SECONDS, LINGER_SECONDS, MOST_OWED, REQUEST_SECONDS, UNREAD_SECONDS
from validator.http.protocol import (
    Event,
    ProtocolFault,
    Request,
    RequestParser,
)
from validator.metrics import Tally

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Application(Protocol):
    def respond(self, request: Request) -> bytes | Work[bytes] | Reply[bytes | Exception]: ...
    def refuse(self, fault: Exception, request: Request) -> bytes: ...
    def malformed(self, fault: ProtocolFault) -> bytes: ...


class Serving(Protocol):
    """What a connection needs from its server."""

    app: Application
    tally: Tally
    heads: Heads
    draining: bool

    def welcome(self, connection: "Connection") -> bool: ...
    def farewell(self, connection: "Connection") -> None: ...


class _Owed:
    """A place in the queue for an answer, and the coroutine that makes it, or the Reply that it comes in."""

    __slots__ = ("_began", "_connection", "_request", "_work", "answer")

    def __init__(
        self, connection: "Connection", request: Request, work: Work[bytes] | Reply[bytes | Exception]
    ) -> None:
        self.answer: bytes | None = None
        self._connection = connection
        self._request = request
        self._work = work
        self._began = perf_counter()

    def go_on(self) -> None:
        work = self._work
        if not isinstance(work, Reply):
            drive(work, self._done, self._failed)
        elif isinstance(work.value, bytes):
            self._done(work.value)
        else:
            self._failed(work.value)

    def _done(self, answer: bytes) -> None:
        self.answer = _dressed(self._request, answer)
        self._connection.pay(perf_counter() - self._began)

    def _failed(self, fault: Exception) -> None:
        self._done(self._connection.refuse(fault, self._request))


class _Ready:
    """An answer that is ready, in the queue behind one that is not."""

    __slots__ = ("answer",)

    def __init__(self, answer: bytes) -> None:
        self.answer = answer


class Connection(asyncio.Protocol):
    """Ten thousand of these wait for a next request, so they are small: what only a busy one needs is made late."""

    __slots__ = (
        "_app",
        "_begun",
        "_ending",
        "_fresh",
        "_leaving",
        "_owed",
        "_parser",
        "_peer",
        "_reading",
        "_seconds",
        "_server",
        "_tally",
        "_transport",
        "_unread",
    )

    def __init__(self, server: Serving) -> None:
        self._server = server
        self._app = server.app
        self._tally = server.tally
        self._parser = RequestParser(server.heads)
        self._owed: list[_Owed | _Ready] = []  # at most MOST_OWED; an empty deque would take 700 bytes
        self._ending = False  # nothing more will be written
        self._unread = False  # the client does not read its answers
        self._reading = True
        self._leaving = False  # the client has closed its half
        self._begun = False  # a request has begun and not ended
        self._fresh = True  # no request has come yet
        self._seconds = 0  # since its state changed last

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        name = transport.get_extra_info("peername")
        self._peer: str = name[0] if isinstance(name, tuple) else ""
        if not self._server.welcome(self):
            refusal = ProtocolFault(503, "this process has as many clients as it may have: try again later")
            self._transport.write(_closing(self._app.malformed(refusal)))
            self._end()

    @override
    def data_received(self, data: bytes) -> None:
        if self._ending:
            return
        request = self._parser.recognize(data)
        if request is None or self._owed or self._server.draining:
            self._read(data)
            return
        self._seconds = 0
        self._fresh = False
        answer = self._respond(request)
        if answer is not None:
            self._tally.at_once += 1
            self._transport.write(answer)

    def _read(self, data: bytes) -> None:
        """Handles everything but the usual case: one request with a known head, while nothing is owed."""
        events = self._parser.feed(data)
        if not events and self._begun:
            return
        self._seconds = 0
        self._begun = not events
        # Answers that are ready go out together; behind one that waits they queue.
        ready: list[bytes] = []
        for event in events:
            self._fresh = False
            answer = self._answer(event)
            if answer is None:
                continue
            if self._owed:
                self._owed.append(_Ready(answer))
            else:
                ready.append(answer)
        if ready:
            self._tally.at_once += len(ready)
            self._write(ready)
        if self._leaving or self._parser.deaf or self._server.draining:
            self._end_if_done()

    @override
    def eof_received(self) -> bool:
        """Whether to keep our half open: a client that closes its half still reads the answers that are owed."""
        self._leaving = True
        return bool(self._owed)

    @override
    def pause_writing(self) -> None:
        self._unread = True
        self._seconds = 0
        self._read_on()

    @override
    def resume_writing(self) -> None:
        self._unread = False
        self._seconds = 0
        self._read_on()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._ending = True
        self._server.farewell(self)

    def look(self) -> None:
        """Called once a second: ends a connection that has been in one state for too long."""
        self._seconds += 1
        if self._ending or self._unread:
            if self._seconds > (LINGER_SECONDS if self._ending else UNREAD_SECONDS):
                self._transport.abort()
        elif self._owed:
            return  # the client waits for us
        elif self._parser.in_midst:
            if self._seconds > REQUEST_SECONDS:
                late = ProtocolFault(408, f"a request must arrive within {REQUEST_SECONDS} seconds")
                self._transport.write(_closing(self._app.malformed(late)))
                self._end()
        elif self._seconds > (REQUEST_SECONDS if self._fresh else IDLE_SECONDS):
            self._end()

    def end_if_idle(self, *, fresh_too: bool) -> None:
        """Ends an idle connection. A new one is about to send a request: it is ended only with `fresh_too`."""
        if not self._ending and not self._owed and not self._parser.in_midst and (fresh_too or not self._fresh):
            self._end()

    def _answer(self, event: Event) -> bytes | None:
        """The answer if it is ready at once; otherwise None, and it gets a place in the queue."""
        if isinstance(event, Request):
            answer = self._respond(event)
            return None if answer is None else _dressed(event, answer)
        return _closing(self._app.malformed(event)) if isinstance(event, ProtocolFault) else _CONTINUE

    def _respond(self, request: Request) -> bytes | None:
        """Like `_answer`, but without the changes that this request needs (`_dressed`)."""
        request.peer = self._peer
        try:
            work = self._app.respond(request)
            if isinstance(work, bytes):
                return work
            if not isinstance(work, Reply):
                reply: Reply[Any] = work.send(None)
            elif work.done:
                return work.value if isinstance(work.value, bytes) else self.refuse(work.value, request)
            else:
                reply = work
        except StopIteration as end:
            answer: bytes = end.value
            return answer
        except Exception as fault:  # noqa: BLE001  # every exception of a handler is answered
            return self.refuse(fault, request)
        owed = _Owed(self, request, work)
        self._owed.append(owed)
        if len(self._owed) == MOST_OWED:
            self._read_on()
        reply.when_done(owed.go_on)
        return None

    def pay(self, seconds: float) -> None:
        """An answer has become ready after so many seconds: writes all that can be written now."""
        self._tally.waits.add(seconds)
        ready: list[bytes] = []
        while self._owed and (answer := self._owed[0].answer) is not None:
            ready.append(answer)
            self._owed.pop(0)
        if ready and not self._ending:
            self._write(ready)
            self._read_on()
            self._end_if_done()

    def refuse(self, fault: Exception, request: Request) -> bytes:
        return self._app.refuse(fault, request)

    def _write(self, ready: list[bytes]) -> None:
        if self._server.draining and not (self._owed or self._parser.in_midst or self._parser.deaf):
            ready[-1] = _closing(ready[-1])
        self._transport.write(ready[0] if len(ready) == 1 else b"".join(ready))

    def _read_on(self) -> None:
        """Reads from the client, unless it leaves its answers unread or is owed too many."""
        wanted = not self._unread and len(self._owed) < MOST_OWED
        if wanted is not self._reading and not self._transport.is_closing():
            self._reading = wanted
            (self._transport.resume_reading if wanted else self._transport.pause_reading)()

    def _end_if_done(self) -> None:
        if not self._owed and not self._ending:
            leaving = self._leaving or (self._server.draining and not self._parser.in_midst)
            if self._parser.deaf or leaving:
                self._end()

    def _end(self) -> None:
        self._ending = True
        self._seconds = 0
        if self._transport.is_closing():
            return
        if self._leaving:
            self._transport.close()  # there is nothing left to read
            return
        if not self._reading:
            self._transport.resume_reading()
        self._transport.write_eof()


def _dressed(request: Request, answer: bytes) -> bytes:
    """The answer as this request needs it (HEAD, Connection); most need no change."""
    if request.method == b"HEAD":
        answer = answer[: answer.index(b"\r\n\r\n") + 4]
    if not request.keep_alive:
        return _closing(answer)
    if request.http_1_0:
        return answer.replace(b"\r\n", b"\r\nConnection: keep-alive\r\n", 1)
    return answer


def _closing(answer: bytes) -> bytes:
    return answer.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
