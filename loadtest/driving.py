"""Driver processes: they share the load of one run, and begin at one instant.

Each is a process of its own, so that what measures the server (or suspends licenses meanwhile) does not compete with
them for one interpreter.
"""

import gc
import multiprocessing
import signal
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection as Pipe
from time import perf_counter
from typing import Final, NamedTuple

import uvloop

from core.counted import counted
from core.process import die_with_parent
from loadtest.customer_calls import CustomersTarget
from loadtest.drawing import Spread
from loadtest.driver import Calls, CannotDrive, Driven, Driver, Plan
from loadtest.seed_files import SeedFiles
from loadtest.signed_calls import FEATURES, SignedCalls
from loadtest.stack import NoStack, Stack
from loadtest.usage_calls import UsageCalls

_HEAD_START: Final = 0.3
_AHEAD_SECONDS: Final = 30
"""Reports for so long a run are signed before it begins: a signature is good for 300 s, and a list of them is large."""


class Target(NamedTuple):
    """The server's URL, the key that signs, and the licenses to ask about."""

    url: str
    key: tuple[str, str]
    license_keys: Sequence[str]
    features: Sequence[str] = FEATURES
    reports: int = 0
    """Above 0: sends so many usage reports in each call, instead of asking for a verdict."""
    about: int = 20
    """How many licenses each list of reports is about."""
    spread: Spread | None = None
    """How licenses are drawn for verdicts; without one, 50,000 at most are asked about in turn."""

    @property
    def asked(self) -> str:
        match self.reports:
            case 0:
                return "validations"
            case 1:
                return "usage reports"
            case many:
                return f"lists of {counted(many, 'usage report', ',')}"

    @property
    def settings(self) -> dict[str, str | int]:
        drawn: dict[str, str | int] = {} if self.spread is None else {"spread": self.spread}
        return {"licenses": len(self.license_keys), **drawn}

    def told(self, answered: float) -> dict[str, float]:
        """Facts that follow from how many calls are answered a second."""
        return {"usage reports per second": answered * self.reports} if self.reports else {}

    def calls(self, plan: Plan) -> Calls:
        seconds = plan.warm_up + plan.seconds
        if self.reports:
            ahead = round(min(seconds, _AHEAD_SECONDS) * plan.rate)
            return UsageCalls(self.url, self.key, self.license_keys, items=self.reports, about=self.about, ahead=ahead)
        return SignedCalls(
            self.url,
            self.key,
            self.license_keys,
            features=self.features,
            spread=self.spread,
            ahead=round(seconds * plan.rate),
        )


class Drivers:
    """The processes of one run, connected and waiting for the start."""

    def __init__(self, target: Target | CustomersTarget, plans: Iterable[Plan]) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._children: list[tuple[multiprocessing.process.BaseProcess, Pipe]] = []
        for plan in plans:
            mine, its = self._context.Pipe()
            child = self._context.Process(target=_drive, args=(target, plan, its), daemon=True)
            child.start()
            its.close()
            self._children.append((child, mine))

    @property
    def pids(self) -> list[int]:
        return [child.pid for child, _ in self._children if child.pid]

    def start(self) -> float:
        """Waits until all are connected; then the instant of the first request, which is a moment away."""
        for _, pipe in self._children:
            _heard(pipe)
        start = perf_counter() + _HEAD_START
        for _, pipe in self._children:
            pipe.send(start)
        return start

    def finish(self) -> list[Driven]:
        """The records of each process, once all have ended."""
        driven = [_heard(pipe) for _, pipe in self._children]
        for child, _ in self._children:
            child.join()
        return [one for one in driven if isinstance(one, Driven)]

    def kill(self) -> None:
        """Ends those that still run."""
        for child, pipe in self._children:
            child.kill()
            child.join()
            pipe.close()


@contextmanager
def drivers(target: Target | CustomersTarget, plans: Iterable[Plan]) -> Iterator[Drivers]:
    started = Drivers(target, plans)
    try:
        yield started
    finally:
        started.kill()


def share(plan: Plan, processes: int) -> list[Plan]:
    """A plan for each process; together they send what `plan` says, evenly spaced."""
    return [
        plan._replace(
            rate=plan.rate / processes,
            connections=max(1, plan.connections // processes),
            phase=number / processes,
        )
        for number in range(processes)
    ]


def target_of(stack: Stack, files: SeedFiles) -> Target:
    """The running stack's validator, and the seeded licenses."""
    license_keys = files.read_keys()
    if not license_keys:
        raise NoStack(f"{files.keys} holds no license keys: make some with `python -m loadtest.seed`")
    return Target(stack.validator, (stack.platform_key.key_id, stack.platform_key.secret), license_keys)


def _drive(target: Target | CustomersTarget, plan: Plan, pipe: Pipe) -> None:
    """A child's whole life."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the parent ends its drivers itself

    async def drive() -> Driven:
        driver = Driver(plan, target.calls(plan))
        await driver.connect()
        pipe.send(None)
        start: float = pipe.recv()
        gc.collect()
        gc.disable()  # the driver makes no cycles, and a collection would delay whatever is due
        return await driver.run(start)

    try:
        pipe.send(uvloop.run(drive()))
    except CannotDrive as fault:
        pipe.send(fault)


def _heard(pipe: Pipe) -> Driven | None:
    try:
        word: Driven | CannotDrive | None = pipe.recv()
    except EOFError:
        raise CannotDrive("a driver process has died") from None
    if isinstance(word, CannotDrive):
        raise word
    return word
