"""Time of a whole stack, moved: to each instant at which something falls due, and at most a day at a time.

At each step the clock is set (core/clock.py), the workers follow and do what has fallen due, what is due in Stripe's
books happens, its webhooks are delivered, and the workers are asked until nothing is left. Then comes the next step.
Test clocks that stand behind move along; one that is ahead stays where it is.
"""

import asyncio
import math
from pathlib import Path
from time import monotonic
from typing import Final

import httpx
import msgspec

from core.clock import MovedClock, move_clock
from devstack.simulators.stripe import cycles
from devstack.simulators.stripe.books import TEST_CLOCK, Books, Document
from devstack.simulators.stripe.deliveries import Courier

_DAY: Final = 24 * 3600
_FARTHEST: Final = 100 * 366 * _DAY
_SETTLED_WITHIN: Final = 30.0
_VALIDATORS_WITHIN: Final = 0.2
"""Seconds in which validators have read that the workers know the new time; they look each 75 ms."""
_ASK_AGAIN: Final = 0.1


class CannotMove(Exception):
    """Why not, and the status that says so; `due` is what a step has left to do."""

    def __init__(self, status: int, detail: str, due: dict[str, int] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.due = due


class Agenda(msgspec.Struct, frozen=True):
    """What the workers answer (workers/agenda.py)."""

    due: dict[str, int]
    next_due: float | None


class Mover:
    """`workers` is the address at which the workers tell their health."""

    def __init__(self, books: Books, courier: Courier, clock: MovedClock, file: Path, workers: str) -> None:
        self._books = books
        self._courier = courier
        self._clock = clock
        self._file = file
        self._workers = workers
        self._http = httpx.AsyncClient(timeout=10, trust_env=False)
        self._clocks_told: set[str] = set()
        self.moving = False

    def now(self) -> int:
        return int(self._clock.unix_time())

    async def move(self, to: int) -> int:
        """Returns the time that it is then. Raises CannotMove."""
        if self.moving:
            raise CannotMove(409, "Time is being moved by another request.")
        if to < self.now():
            raise CannotMove(409, "Time cannot be moved backwards.")
        if to > self.now() + _FARTHEST:
            raise CannotMove(400, "Time is moved by a hundred years at most.")
        self.moving = True
        try:
            later = (await self._settle(self.now(), monotonic() + _SETTLED_WITHIN)).next_due
            while (now := self.now()) < to:
                later = (await self._step(self._next(now, to, later))).next_due
            await self._arrive()
            return self.now()
        finally:
            self._tell_clocks()
            self.moving = False

    async def _arrive(self) -> None:
        """Test clocks stand at the new time, and validators know that what they have is of it."""
        self._let_happen(self.now())
        self._tell_clocks()
        gives_up = monotonic() + _SETTLED_WITHIN
        await self._ask("arrival", gives_up)
        await self._settle(self.now(), gives_up)
        await self._ask("clock", gives_up)
        await asyncio.sleep(_VALIDATORS_WITHIN)

    def _next(self, now: int, to: int, later: float | None) -> int:
        """The next due instant, rounded up; a second on at least, so that what stays due cannot hold time back."""
        end = min(to, now + _DAY)
        ours = [math.ceil(due) for due in (later, self._courier.next_due()) if due is not None]
        theirs = [cycles.next_due(self._books, clock, end) for clock in (None, *self._behind(end))]
        return min([end, *(max(due, now + 1) for due in (*ours, *theirs) if due is not None)])

    async def _step(self, instant: int) -> Agenda:
        real = self._clock.unix_time() - self._clock.seconds()
        move_clock(self._file, math.ceil(instant - real))
        gives_up = monotonic() + _SETTLED_WITHIN
        if self._is_due(self.now()):  # SQL's time has to follow before anything happens
            await self._ask("clock", gives_up)
            self._let_happen(self.now())
        self._courier.look()
        return await self._settle(instant, gives_up)

    def _is_due(self, now: int) -> bool:
        clocks = (None, *self._behind(now))
        owed = self._courier.next_due()
        return (owed is not None and owed <= now) or any(
            cycles.next_due(self._books, clock, now) is not None for clock in clocks
        )

    def _let_happen(self, now: int) -> None:
        with self._books.journal.transaction():
            cycles.carry_on(self._books, None, now)
            for clock_id in self._behind(now):
                clock = self._books.fetch(TEST_CLOCK, clock_id)
                if clock_id not in self._clocks_told:
                    self._books.emit("test_helpers.test_clock.advancing", {**clock, "status": "advancing"})
                    self._clocks_told.add(clock_id)
                cycles.carry_on(self._books, clock_id, now)
                self._books.keep({**self._books.fetch(TEST_CLOCK, clock_id), "frozen_time": now})

    def _behind(self, now: int) -> list[str]:
        return [clock["id"] for clock in self._books.all(TEST_CLOCK) if clock["frozen_time"] < now]

    def _tell_clocks(self) -> None:
        with self._books.journal.transaction():
            for clock in filter(None, (self._books.find(TEST_CLOCK, one) for one in self._clocks_told)):
                self._books.emit("test_helpers.test_clock.ready", clock)
        self._clocks_told.clear()

    async def _settle(self, instant: int, gives_up: float) -> Agenda:
        """Until no webhook is owed and the workers have nothing left, at the same time."""
        while True:
            await self._courier.delivered(gives_up - monotonic())
            announced = self._courier.announced
            agenda = msgspec.json.decode(await self._ask("agenda", gives_up), type=Agenda)
            if not agenda.due and not self._courier.owed and self._courier.announced == announced:
                return agenda
            if monotonic() > gives_up:
                due = agenda.due | ({"webhooks": self._courier.owed} if self._courier.owed else {})
                raise CannotMove(504, f"The step to {instant} has not settled within 30 seconds.", due)

    async def _ask(self, page: str, gives_up: float) -> bytes:
        """The workers may be starting; they are asked again until the step's time is over."""
        while True:
            try:
                left = max(gives_up - monotonic(), _ASK_AGAIN)
                answer = await self._http.get(f"{self._workers}/devstack/{page}", timeout=left)
                answer.raise_for_status()
            except httpx.HTTPError as fault:
                if monotonic() > gives_up:
                    told = f"The workers do not tell what is due: {type(fault).__name__}."
                    raise CannotMove(504, told, {"workers": 1}) from fault
                await asyncio.sleep(_ASK_AGAIN)
            else:
                return answer.content


def shown(mover: Mover) -> Document:
    return {"now": mover.now(), "status": "advancing" if mover.moving else "ready"}
