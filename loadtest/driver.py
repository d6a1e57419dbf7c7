"""An open-loop driver: requests leave at a constant rate, whatever becomes of the earlier ones.

A client that waits for each answer stops asking while the server stalls. It then measures one slow request where a
hundred customers would have had one ("coordinated omission"). So every request here has an instant at which it is due,
and its latency counts from that instant, also where no connection is free or this very process is late.

Connections are held open and used in turn, each with one request under way at most. One that breaks is opened again.

It shares the machine with the server it measures, so it is a bare asyncio protocol with requests made in advance. The
loop's timers have a resolution of a millisecond; between them each answer is an occasion to send what is due.
"""

import asyncio
import resource
import socket
from collections import deque
from time import perf_counter
from typing import Final, NamedTuple, Protocol, cast
from urllib.parse import urlsplit

from typing_extensions import override

from loadtest.answer import Answer, BadAnswer, read, verdict_code
from loadtest.histogram import Histogram
from loadtest.recording import Recorder

_GRAIN: Final = 0.001
_LOOK_EACH: Final = 0.05
_CONNECTING_AT_ONCE: Final = 200
_STRIDE: Final = 101
_FILES_BESIDES: Final = 100
_AGAIN_AFTER: Final = 0.2


class Calls(Protocol):
    def take(self) -> bytes:
        """The bytes of the next request."""

    def outcome(self, body: bytes) -> str:
        """What a good answer says, in a word, to be counted."""


class CannotDrive(Exception):
    """The run cannot begin; the text says why."""


class Plan(NamedTuple):
    """The plan of one process. Seconds throughout; `rate` is per second."""

    url: str
    rate: float
    connections: int
    seconds: float
    warm_up: float = 0.0
    """Sent like the rest and not recorded."""
    patience: float = 10.0
    """A request without an answer for so long is given up, with its connection."""
    idle_at_most: float | None = None
    """A connection that was idle for so long is replaced, as clients do before the server ends it."""
    phase: float = 0.0
    """Part of an interval by which all requests come later, so that several processes take turns."""

    @property
    def settings(self) -> dict[str, str | float]:
        """As a result tells them."""
        return {name: value for name, value in self._asdict().items() if value is not None}


class Driven(NamedTuple):
    recorder: Recorder
    lateness: Histogram
    """By how much requests left after their instant: this process's own part of their latency."""
    reopened: int
    ended: float
    """When the last answer came, in seconds after the measurement's begin."""


class Connection(asyncio.Protocol):
    __slots__ = ("_driver", "_held", "_transport", "idle_since", "intended", "lost")

    def __init__(self, driver: "Driver") -> None:
        self._driver = driver
        self._held = b""
        self.intended = 0.0
        self.idle_since = perf_counter()
        self.lost = False

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    @override
    def data_received(self, data: bytes) -> None:
        if self._held:
            data = self._held + data
        try:
            answer = read(data)
        except BadAnswer as fault:
            self._driver.failed(self, f"unreadable: {fault}")
            self.abort()
            return
        if answer is None:
            self._held = data
            return
        self._held = b""
        self._driver.answered(self, answer)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._driver.lost(self)

    def send(self, request: bytes, intended: float) -> None:
        self.intended = intended
        self._transport.write(request)

    def abort(self) -> None:
        self.lost = True
        self._transport.abort()


class Driver:
    def __init__(self, plan: Plan, calls: Calls) -> None:
        self._plan = plan
        self._calls = calls
        self._loop = asyncio.get_running_loop()
        self._idle: deque[Connection] = deque()
        self._busy: dict[Connection, float] = {}
        """Since when; the longest first."""
        self._interval = 1 / plan.rate
        self._total = round((plan.warm_up + plan.seconds) * plan.rate)
        self._sent = 0
        self._done = 0
        self._recorder = Recorder()
        self._lateness = Histogram()
        self._reopened = 0
        self._start = self._measured_from = self._ended = self._looked = 0.0
        self._finished = self._loop.create_future()
        self._opening: set[asyncio.Task[None]] = set()

    async def connect(self) -> None:
        """Opens all connections; CannotDrive where the server does not take them."""
        allow_files(self._plan.connections + _FILES_BESIDES)
        self._address = address_of(self._plan.url)
        turns = asyncio.Semaphore(_CONNECTING_AT_ONCE)

        async def open_in_turn() -> None:
            async with turns:
                await self._open()

        try:
            await asyncio.gather(*(open_in_turn() for _ in range(self._plan.connections)))
        except OSError as fault:
            raise CannotDrive(f"{self._plan.url} takes no connection: {fault}") from fault
        self._mix()

    def _mix(self) -> None:
        """Puts connections that were opened together far apart, with ages as if they had come one after the other.

        A process of the server takes many that wait in one go. In their order it would have all requests of a while.
        And all of an age would be replaced in one moment.
        """
        opened = list(self._idle)
        self._idle = deque(one for first in range(_STRIDE) for one in opened[first::_STRIDE])
        now, longest = perf_counter(), self._plan.idle_at_most or 0.0
        for place, connection in enumerate(self._idle):
            connection.idle_since = now - longest * (1 - place / len(opened))

    async def run(self, start: float) -> Driven:
        """Sends everything, the first request at `start` (perf_counter), and waits for the answers."""
        self._start = start + self._plan.phase * self._interval
        self._measured_from = self._start + self._plan.warm_up
        self._loop.call_later(max(0.0, start - perf_counter()), self._tick)
        await self._finished
        self._close()
        return Driven(self._recorder, self._lateness, self._reopened, self._ended - self._measured_from)

    def answered(self, connection: Connection, answer: Answer) -> None:
        if self._busy.pop(connection, None) is None:
            connection.abort()  # a farewell to an idle connection
            return
        now = perf_counter()
        if answer.status == 200:
            self._note(connection.intended, now, outcome=self._calls.outcome(answer.body))
        else:
            told = f"HTTP {answer.status} {verdict_code(answer.body)}"
            self._note(connection.intended, now, **{"put_off" if answer.put_off else "fault": told})
        if answer.closing:
            connection.abort()
        else:
            connection.idle_since = now
            self._idle.append(connection)
        if now >= self._start + self._sent * self._interval:
            self._send_due(now)

    def failed(self, connection: Connection, fault: str) -> None:
        if self._busy.pop(connection, None) is not None:
            self._note(connection.intended, perf_counter(), fault=fault)

    def lost(self, connection: Connection) -> None:
        """A fault during a request; the server may end an idle connection at any time."""
        self.failed(connection, "connection lost")
        if not self._finished.done():
            self._reopened += 1
            task = self._loop.create_task(self._reopen())
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    def _tick(self) -> None:
        now = perf_counter()
        self._send_due(now)
        if now - self._looked > _LOOK_EACH:
            self._looked = now
            self._give_up(now)
            self._replace_idle(now)
        if self._done < self._total:
            self._loop.call_later(_GRAIN, self._tick)
        elif not self._finished.done():
            self._finished.set_result(None)

    def _send_due(self, now: float) -> None:
        due = min(self._total, int((now - self._start) / self._interval) + 1)
        while self._sent < due and self._idle:
            connection = self._idle.popleft()
            if connection.lost:
                continue
            intended = self._start + self._sent * self._interval
            self._sent += 1
            self._busy[connection] = now
            connection.send(self._calls.take(), intended)
            if intended >= self._measured_from:
                self._lateness.record(int((now - intended) * 1e6))

    def _give_up(self, now: float) -> None:
        """Gives up on late answers and, some time after the end, on requests that could not be sent."""
        late = [connection for connection, since in self._busy.items() if now - since > self._plan.patience]
        for connection in late:
            self.failed(connection, f"no answer within {self._plan.patience:g} s")
            connection.abort()
        if now > self._start + self._total * self._interval + self._plan.patience:
            while self._sent < self._total:
                self._note(self._start + self._sent * self._interval, now, fault="never sent: no connection was free")
                self._sent += 1

    def _replace_idle(self, now: float) -> None:
        longest = self._plan.idle_at_most
        while longest is not None and self._idle and now - self._idle[0].idle_since > longest:
            self._idle.popleft().abort()

    def _note(self, intended: float, now: float, *, outcome: str = "", fault: str = "", put_off: str = "") -> None:
        self._done += 1
        if intended < self._measured_from:
            return
        self._ended = now
        second, microseconds = int(intended - self._measured_from), int((now - intended) * 1e6)
        if fault:
            self._recorder.failed(second, microseconds, fault)
        elif put_off:
            self._recorder.put_off_at(second, microseconds, put_off)
        else:
            self._recorder.answered(second, microseconds, outcome)

    async def _open(self) -> None:
        _, connection = await self._loop.create_connection(lambda: Connection(self), *self._address)
        self._idle.append(connection)

    async def _reopen(self) -> None:
        while not self._finished.done():
            try:
                await self._open()
            except OSError:
                await asyncio.sleep(_AGAIN_AFTER)
            else:
                return

    def _close(self) -> None:
        for task in self._opening:
            task.cancel()
        for connection in (*self._idle, *self._busy):
            connection.abort()


def allow_files(wanted: int) -> None:
    """As many open files as `wanted`: the usual soft limit of 1,024 is for select(2), which is not used here."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise CannotDrive(f"this user may open {hard} files, and {wanted} are needed: see `ulimit -Hn`")
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def address_of(url: str) -> tuple[str, int]:
    """Resolved once, not for each of thousands of connections."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise CannotDrive(f"{url!r} is no http:// URL: the driver speaks plain HTTP only")
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or 80, type=socket.SOCK_STREAM)
    except OSError as fault:
        raise CannotDrive(f"{parts.hostname} cannot be found: {fault}") from fault
    host, port = found[0][4][:2]
    return str(host), int(port)
