"""Agenda of a devstack whose time is moved: does what has fallen due, says what is left and when something is due next.

The simulator of Stripe moves the time (devstack/simulators/stripe/moving.py). It asks after each step, and makes the
next step when nothing is left. Loops and periodic tasks go by the real time and would come too late. So each thing that
is due by date is a duty, one line in `Runtime._duties`. A duty says what to do, how often at most in moved time and,
where it can be told, when there will be something to do next. It looks by state: doing it once more does no harm.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic
from typing import Final

import msgspec

from core.clock import MovedClock
from db import clock as database_clock
from db import outbox
from db.unit_of_work import Database
from workers.jobs.partner_lane import PartnerLane
from workers.process.status_server import Handler, StatusPage
from workers.projection.relay import Relay

MINUTE: Final = timedelta(minutes=1)
WEEK: Final = timedelta(days=7)
_WITHIN: Final = 2.0
"""Seconds for one look; what is left then is told, and looked at again."""
_ASK_AGAIN: Final = 0.01


async def _unknown() -> datetime | None:
    """Nobody can tell, or it does not matter: time moves by a day at most."""
    return None


@dataclass(frozen=True)
class Duty:
    name: str
    perform: Callable[[], Awaitable[object]]
    each: timedelta = timedelta(0)
    """Moved time that passes at least between two times on the way; zero: at each step. On arrival it is performed."""
    next_due: Callable[[], Awaitable[datetime | None]] = _unknown


class State(msgspec.Struct, frozen=True):
    """`due` names what is left to do now, with its number; `next_due` is in Unix seconds."""

    now: float
    due: dict[str, int]
    next_due: float | None


class Agenda:
    """Raises what a duty raises: a step whose duties fail does not settle."""

    def __init__(
        self, database: Database, clock: MovedClock, relay: Relay, partners: PartnerLane, duties: Sequence[Duty]
    ) -> None:
        self._database = database
        self._clock = clock
        self._relay = relay
        self._partners = partners
        self._duties = duties
        self._performed: dict[str, datetime] = {}

    def pages(self) -> dict[str, Handler]:
        return {
            "/devstack/clock": self._tell_clock,
            "/devstack/agenda": self._tell,
            "/devstack/arrival": self._arrive,
        }

    async def _tell(self) -> StatusPage:
        return StatusPage(msgspec.json.encode(await self.look()))

    async def _tell_clock(self) -> StatusPage:
        """SQL's time follows the clock file, and validators are told that what they know is of the new time."""
        await self._follow()
        await self._relay.catch_up()
        return StatusPage(msgspec.json.encode({"now": self._clock.unix_time()}))

    async def _arrive(self) -> StatusPage:
        """Time stays where it is now: every duty is performed, however short ago it was."""
        await self._follow()
        for duty in self._duties:
            await duty.perform()
        return await self._tell_clock()

    async def _follow(self) -> None:
        async with self._database.as_system() as tx:
            await database_clock.follow(tx.session, self._clock.seconds())

    async def look(self) -> State:
        await self._follow()
        for duty in self._duties:
            await self._perform(duty)
        due, later = await self._run_dry()
        nexts = [later, *[await duty.next_due() for duty in self._duties]]
        next_due = min((instant.timestamp() for instant in nexts if instant is not None), default=math.inf)
        return State(self._clock.unix_time(), due, None if next_due == math.inf else next_due)

    async def _perform(self, duty: Duty) -> None:
        now = self._clock.utc_now()
        last = self._performed.get(duty.name)
        if last is None or now - last >= duty.each:
            await duty.perform()
            self._performed[duty.name] = now

    async def _run_dry(self) -> tuple[dict[str, int], datetime | None]:
        """Performs jobs until none is due; says what is left, and when the next one falls due."""
        gives_up = monotonic() + _WITHIN
        while True:
            async with self._database.as_system() as tx:
                waiting = await outbox.due_by_lane(tx.session)
            left = {lane: row.due for lane, row in waiting.items()} | {"running": self._partners.running}
            left = {name: number for name, number in left.items() if number}
            if not left or monotonic() > gives_up:
                return left, min((row.later for row in waiting.values() if row.later), default=None)
            if "projection" in left:
                await self._relay.catch_up()
            await self._partners.perform_due(gives_up - monotonic())
            await asyncio.sleep(_ASK_AGAIN)
