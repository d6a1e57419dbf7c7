"""One crash test: start the stack, strike its parts while clients work, wait until it is quiet, judge."""

import asyncio
from collections import Counter as Tally
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from time import monotonic
from typing import Final, NamedTuple

import httpx
import msgspec

from chaos.calls import API, Caller, Outages
from chaos.grants import late_reports
from chaos.history import Books, History
from chaos.judge import crashed, judge
from chaos.lasting import NothingToStrike, lasting
from chaos.panel import USAGE, Deadline, Panel
from chaos.plan import HOT_STORE, LASTING, Strike, Target, strikes
from chaos.stores import Stores
from chaos.system import System, running
from chaos.violation import Violation
from core.clock import unix_time
from core.counted import counted
from devstack.visitor import Visitor, eventually

_DELIVERED_WITHIN: Final = 60.0
_QUIET_WITHIN: Final = 120.0
_PROGRESS_EACH: Final = 5.0
_GRACE: Final = 40.0
_LOOK_EACH: Final = 0.05


class Setting(NamedTuple):
    seed: int
    seconds: float = 300.0
    licenses: int = 6
    panels: int = 4
    """Of each license."""
    ttl: float = 20.0
    """The longest a hold may last, in seconds; the shortest is half of it."""


class TurnOutcome(NamedTuple):
    setting: Setting
    history: History
    books: Books
    struck: Tally[str]
    outages: Mapping[str, Outages]
    lists: bool
    own_disk: bool
    """Whether the whole disk was filled; otherwise only logs were."""
    violations: list[Violation]

    @property
    def late(self) -> int:
        return late_reports(self.history, self.books)


def play(setting: Setting, folder: Path, tell: Callable[[str], None]) -> TurnOutcome:
    """`folder`: empty; all of the stack's data and logs, and the clients' history, lie there afterwards."""
    with running(folder) as system:
        tell("the stack is ready")
        licenses = _issue(system, setting.licenses)
        return asyncio.run(_Turn(setting, system, licenses, folder, tell).play())


class _Turn:
    def __init__(
        self,
        setting: Setting,
        system: System,
        licenses: Mapping[str, str],
        folder: Path,
        tell: Callable[[str], None],
    ) -> None:
        self._setting = setting
        self._system = system
        self._licenses = licenses
        self._folder = folder
        self._tell = tell
        self._history = History([], [], [])
        self._struck: Tally[str] = Tally()
        self._end = Deadline()

    async def play(self) -> TurnOutcome:
        key = self._system.facts["platform_key"]
        limits = httpx.Limits(max_connections=200)
        async with httpx.AsyncClient(limits=limits) as http:
            caller = Caller(http, dict(self._system.facts), key["key_id"], key["secret"])
            panels = self._panels(caller)
            lists = await self._takes_lists(caller)
            for panel in panels:
                panel.lists = lists
            # Clients work while parts are struck.
            async with asyncio.TaskGroup() as group:
                for panel in panels:
                    group.create_task(panel.work(self._end))
                group.create_task(self._strike())
        for outages in caller.outages.values():
            outages.end(unix_time())
        # Nothing is judged before everything is quiet.
        self._tell("the clients are done; waiting until nothing moves")
        stores = Stores(self._system, list(self._licenses))
        await stores.come_to_rest(_QUIET_WITHIN)
        books = await stores.books()
        self._keep(books)
        found = [*judge(self._history, books), *crashed(caller.outages)]
        return TurnOutcome(
            self._setting, self._history, books, self._struck, caller.outages, lists, self._system.own_disk, found
        )

    def _panels(self, caller: Caller) -> list[Panel]:
        return [
            Panel(name, Random(f"{self._setting.seed}:{name}"), caller, self._history, license_, self._setting.ttl)
            for place, license_ in enumerate(self._licenses.items())
            for name in (f"p{place}.{number}" for number in range(self._setting.panels))
        ]

    async def _takes_lists(self, caller: Caller) -> bool:
        """Sends a list with a wrong item: it is refused item by item, or as a whole where the API has no lists."""
        answer = await caller.post(API, USAGE, {"items": [{}]}, "list-probe")
        return answer.status == 200

    async def _strike(self) -> None:
        """A part that is down is struck when it is up again, so a run may last a little longer than its plan."""
        began, told = monotonic(), monotonic()
        plan = strikes(self._setting.seed, self._setting.seconds)
        async with asyncio.TaskGroup() as lasting_ones:
            for strike in [each for each in plan if self._lasts(each)]:
                plan.remove(strike)
                lasting_ones.create_task(self._last(strike, began))
            while (now := monotonic() - began) < self._setting.seconds or (
                plan and now < self._setting.seconds + _GRACE
            ):
                for strike in [each for each in plan if each.at <= now]:
                    if await self._struck_by(strike):
                        plan.remove(strike)
                if monotonic() - told > _PROGRESS_EACH:
                    told = monotonic()
                    self._tell(self._progress(now))
                await asyncio.sleep(_LOOK_EACH)
        self._end.hard_at = unix_time() + _DELIVERED_WITHIN
        self._end.set()

    def _lasts(self, strike: Strike) -> bool:
        return strike.target in LASTING and (strike.target is not Target.FULL_DISK or self._system.own_disk)

    async def _last(self, strike: Strike, began: float) -> None:
        """One lasting fault, from its begin until it is lifted. It waits for a part that is down."""
        give_up_at = began + self._setting.seconds + _GRACE
        await asyncio.sleep(max(strike.at - (monotonic() - began), 0))
        while monotonic() < give_up_at:
            try:
                async with lasting(self._system, strike):
                    self._struck[strike.target] += 1
                    await asyncio.sleep(strike.lasts)
            except NothingToStrike:
                await asyncio.sleep(_LOOK_EACH)
            else:
                return

    async def _struck_by(self, strike: Strike) -> bool:
        if not await asyncio.to_thread(self._system.strike, strike):
            return False
        self._struck[strike.target] += 1
        if strike.target in HOT_STORE:
            self._history.losses.append(unix_time())
        return True

    def _progress(self, now: float) -> str:
        acknowledged = sum(report.acknowledged_at is not None for report in self._history.reports)
        granted = sum(each.granted for each in self._history.reservations)
        struck = self._struck.total()
        told = counted(granted, "reservation"), counted(acknowledged, "report"), counted(struck, "strike")
        return f"{now:4.0f} s  {told[0]}, {told[1]} acknowledged, {told[2]}"

    def _keep(self, books: Books) -> None:
        """Keeps history and books as JSON, for a closer look than the judge gives."""
        for name, content in (("history", self._history), ("books", books)):
            (self._folder / f"{name}.json").write_bytes(msgspec.json.format(msgspec.json.encode(_plain(content))))


def _issue(system: System, number: int) -> dict[str, str]:
    """Licenses of the smallest plan: id to key."""
    with httpx.Client(timeout=15) as http:
        visitor = Visitor(system.facts, http)
        order = {"email": system.facts["customer"]["email"], "plan": "starter"}
        admin = visitor.admin()
        issued = [visitor.call("POST", "/admin/licenses", admin, order) for _ in range(number)]
        for each in issued:
            eventually("a valid verdict", lambda key=each["license_key"]: visitor.judged(key, "VALID"))  # type: ignore[misc]
        return {each["id"]: each["license_key"] for each in issued}


def _plain(content: History | Books) -> object:
    """Tables as lists: keys of JSON are text."""
    if isinstance(content, History):
        return content
    tables = {
        name: [[*counter, value] for counter, value in table.items()]
        for name, table in (("totals", content.totals), ("hot", content.hot), ("limits", content.limits))
    }
    return tables | {"events": content.events}
