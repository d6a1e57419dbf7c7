"""Supervisor (parent process): holds the listening sockets, and keeps a serving process behind each.

Each slot has a socket of its own with SO_REUSEPORT, so the kernel distributes new connections evenly, and no two
processes wake for one. The sockets belong to the parent: while a child is being replaced, connections to its slot wait
in the kernel's queue, and none is refused.

    SIGTERM           the children serve for NP_DRAIN_SECONDS and are not ready any more; then new connections are
                      turned away, all connected clients are answered, and everything ends
    SIGINT            the same without the wait
    SIGHUP            rolling restart: a new child for each slot, one after another; the old one ends when the new one
                      serves
    SIGCHLD           a child that died is replaced, at once the first time, later if it dies soon after its start

Signals are blocked and waited for in one place, so there are no handlers and no races with them. If the parent itself
is killed, the kernel tells its children (core.process).
"""

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic
from typing import Final

import structlog

from core.listeners import GRACE_SECONDS, turn_away
from core.settings import ValidatorSettings
from validator.http.server import BACKLOG

_SIGNALS: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD})
_YOUNG_SECONDS: Final = 2.0
_LONGEST_PAUSE: Final = 5.0
_START_SECONDS: Final = 10.0
_STOP_SECONDS: Final = 15.0

log = structlog.get_logger()


class Slot:
    """Two sockets, and the process that serves them now."""

    def __init__(self, number: int, at: socket.socket, metrics_at: socket.socket) -> None:
        self.number = number
        self.at = at
        self.metrics_at = metrics_at
        self.child: subprocess.Popen[bytes] | None = None
        self.began = 0.0
        self.pause = 0.0
        self.due = 0.0
        """Monotonic instant at which a dead child is replaced."""

    def start(self) -> int:
        """Starts a child. Returns a descriptor that gives a byte when the child serves, or ends if it has failed."""
        reading, writing = os.pipe()
        handed = (self.at.fileno(), self.metrics_at.fileno(), writing)
        argv = [sys.executable, "-m", "validator", "child", str(self.number), str(os.getpid()), *map(str, handed)]
        self.child = subprocess.Popen(argv, pass_fds=handed)  # noqa: S603  # our own interpreter and arguments
        os.close(writing)
        self.began = monotonic()
        return reading

    def start_again(self) -> None:
        """Starts a child; if the machine has no room for a process now, again after a pause."""
        try:
            os.close(self.start())
        except OSError as fault:
            self.due = monotonic() + _LONGEST_PAUSE
            log.error("validator.not_started", slot=self.number, error=str(fault))  # noqa: TRY400  the text is enough

    def note_death(self) -> None:
        """Notes that the child died, and when the next one starts."""
        assert self.child is not None
        young = monotonic() - self.began < _YOUNG_SECONDS
        self.pause = min(max(self.pause * 2, 0.25), _LONGEST_PAUSE) if young else 0.0
        self.due = monotonic() + self.pause
        log.error("validator.child_died", slot=self.number, returncode=self.child.returncode, pause=self.pause)
        self.child = None


class Supervisor:
    def __init__(self, settings: ValidatorSettings) -> None:
        self._slots = _open_slots(settings)
        self._leaving: list[subprocess.Popen[bytes]] = []
        self._drain_seconds = settings.drain_seconds

    def run(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        while True:
            for slot in self._slots:
                if slot.child is None and monotonic() >= slot.due:
                    slot.start_again()
            caught = signal.sigtimedwait(_SIGNALS, self._wait())
            if caught is not None and caught.si_signo in {signal.SIGTERM, signal.SIGINT}:
                self._stop(signal.Signals(caught.si_signo))
                return
            if caught is not None and caught.si_signo == signal.SIGHUP:
                self._roll()
            self._reap()

    def _wait(self) -> float:
        """Seconds until a dead child is to be replaced; anything else comes as a signal."""
        return max(0.0, min((slot.due - monotonic() for slot in self._slots if slot.child is None), default=60.0))

    def _reap(self) -> None:
        self._leaving = [child for child in self._leaving if child.poll() is None]
        for slot in self._slots:
            if slot.child is not None and slot.child.poll() is not None:
                slot.note_death()

    def _roll(self) -> None:
        log.info("validator.rolling")
        for slot in self._slots:
            old = slot.child
            reading = slot.start()
            serves = _byte_comes(reading)
            os.close(reading)
            # The new child serves: the old one may end. Otherwise it stays, and the roll stops here.
            if serves:
                if old is not None:
                    old.send_signal(signal.SIGINT)
                    self._leaving.append(old)
                continue
            log.error("validator.roll_failed", slot=slot.number)
            if slot.child is not None:
                slot.child.kill()
                self._leaving.append(slot.child)
            slot.child = old
            return

    def _stop(self, signum: signal.Signals) -> None:
        children = [*self._leaving, *(slot.child for slot in self._slots if slot.child is not None)]
        for child in children:
            child.send_signal(signum)
        self._wait_for(children, max(GRACE_SECONDS, self._drain_seconds if signum == signal.SIGTERM else 0))
        # Closing a socket resets the connections in its queue: let no new ones in, while the children accept the rest.
        for slot in self._slots:
            turn_away(slot.at)
            turn_away(slot.metrics_at)
        for child in self._wait_for(children, _STOP_SECONDS):
            log.error("validator.child_killed", pid=child.pid)
            child.kill()
            child.wait()

    def _wait_for(self, children: Sequence[subprocess.Popen[bytes]], seconds: float) -> list[subprocess.Popen[bytes]]:
        """Returns the children that have not ended by then."""
        deadline = monotonic() + seconds
        for child in children:
            with suppress(subprocess.TimeoutExpired):
                child.wait(max(0.0, deadline - monotonic()))
        return [child for child in children if child.poll() is None]


def _open_slots(settings: ValidatorSettings) -> list[Slot]:
    slots: list[Slot] = []
    port = settings.port
    for number in range(settings.processes):
        at = _listening(settings.host, port)
        port = at.getsockname()[1]  # port 0 means any free port, the same for all
        metrics_port = settings.metrics_port + number if settings.metrics_port else 0
        metrics_at = _listening(settings.host, metrics_port)
        slots.append(Slot(number, at, metrics_at))
        log.info("validator.listening", slot=number, port=port, metrics_port=metrics_at.getsockname()[1])
    return slots


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    at = socket.socket(family, socket.SOCK_STREAM)
    at.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    at.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    at.bind((host, port))
    at.listen(BACKLOG)
    at.setblocking(False)  # noqa: FBT003  # it takes no keyword
    return at


def _byte_comes(reading: int) -> bool:
    ready, _, _ = select.select([reading], [], [], _START_SECONDS)
    return bool(ready) and os.read(reading, 1) != b""
