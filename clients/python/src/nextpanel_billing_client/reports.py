"""Usage reports: written down here first, then delivered, in their order, until the service has answered.

A report is a fact, and facts are not lost: neither by an outage, nor by the end of this process. Each has an
idempotency key from the moment it is written down, so that one delivered twice counts once. A report without a known
answer, after an outage or a crash, is sent again.

What waits goes in lists, so that a thousand reports that an outage has kept back cost one call and not a thousand. The
service answers each of a list by itself:

    recorded                     it leaves the queue
    refused, conclusively        it is set aside for a person, and keeps back nobody
    neither                      it stays, and goes with the next list; those behind it have been recorded
    the list as a whole refused  something in it cannot even be read: its halves are sent, until that stands alone
    no answer, or "not now"      all of it stays, and there is a pause
"""

import asyncio
import json
import logging
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple
from uuid import uuid4

from nextpanel_billing_client.answers import BillingError, Refused, StoreUnusable, Unreachable, one_line
from nextpanel_billing_client.store import Report, Store
from nextpanel_billing_client.transport import Transport

MOST_ITEMS: Final = 1000
_LOOK_EACH: Final = 5.0
_LONGEST_PAUSE: Final = 60.0
_OUR_FAULT: Final = frozenset({401, 403})

log = logging.getLogger(__name__)


class _Outcome(NamedTuple):
    """Result for one report. `refused`: the final reason; neither: not conclusive."""

    recorded: bool
    refused: str | None = None


class Reports:
    def __init__(self, store: Store, transport: Transport, billing_url: str, clock: Callable[[], float]) -> None:
        self._store = store
        self._transport = transport
        self._url = f"{billing_url}/api/v1/billing/usage"
        self._clock = clock
        self._rung = asyncio.Event()

    def wake(self) -> None:
        self._rung.set()

    async def add(self, report: dict[str, Any], idempotency_key: str | None) -> str:
        key = idempotency_key or uuid4().hex
        await asyncio.to_thread(self._store.add_report, key, json.dumps(report))
        self.wake()
        return key

    async def run(self) -> None:
        """Delivers until cancelled. After any exception of a round there is a pause and a next round."""
        failures, told = 0, ""
        while True:
            self._rung.clear()
            try:
                await self.deliver()
            except (Exception, asyncio.CancelledError) as failure:  # what nobody foresaw must not end it either
                if _is_asked_to_end():
                    raise
                failures += 1
                told = _tell(failure, told)
                await asyncio.sleep(_pause_after(failures, failure))
                continue
            if told:
                log.warning("usage reports are delivered again")
            failures, told = 0, ""
            with suppress(TimeoutError):  # another process may have left something behind
                async with asyncio.timeout(_LOOK_EACH):
                    await self._rung.wait()

    async def deliver(self) -> int:
        """Delivers what waits; returns how many. Raises Unreachable, or Refused where our key is not taken."""
        number = 0
        while reports := await self._take():
            try:
                readable = await asyncio.to_thread(self._readable, reports)
                outcomes = await self._send(readable) if readable else []
            except BaseException:
                await self._give_back(reports)
                raise
            concluding = asyncio.create_task(asyncio.to_thread(self._conclude, readable, outcomes))
            try:
                await asyncio.shield(concluding)
            finally:
                await concluding  # its thread goes on when this task is cancelled; the store is closed afterwards
            number += sum(outcome.recorded for outcome in outcomes)
            if readable and not any(outcome.recorded or outcome.refused for outcome in outcomes):
                raise Unreachable(f"the service cannot record usage reports now; waiting: {len(reports)}")
        return number

    async def _take(self) -> list[Report]:
        """The oldest reports. When cancelled it leaves no claim on them: the next start would wait for its end."""
        taking = asyncio.create_task(asyncio.to_thread(self._store.take_reports, self._clock(), MOST_ITEMS))
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            await self._give_back(await taking)
            raise

    def _readable(self, reports: Sequence[Report]) -> list[Report]:
        """The reports that a damaged file left readable. The others are set aside."""
        spoilt = {report: "unreadable: this is no report any more" for report in reports if not _is_readable(report)}
        if spoilt:
            log.error("usage reports that cannot be read are set aside: %d", len(spoilt))
            self._store.refuse(spoilt)
        return [report for report in reports if report not in spoilt]

    async def _give_back(self, reports: Sequence[Report]) -> None:
        """Reports that cannot be given back now are free again when the claim on them has run out."""
        try:
            await asyncio.to_thread(self._store.give_back, reports)
        except StoreUnusable as fault:
            log.warning("%s", fault)

    async def _send(self, reports: Sequence[Report]) -> list[_Outcome]:
        items = [json.loads(report.body) | {"idempotency_key": report.idempotency_key} for report in reports]
        try:
            body = json.dumps({"items": items}).encode()
            return await self._transport.post(self._url, body, lambda answer: _outcomes(answer, len(items)))
        except Refused as refusal:
            if refusal.status in _OUR_FAULT:  # nothing is wrong with the reports
                raise
            if len(reports) == 1:
                return [_Outcome(recorded=False, refused=str(refusal))]
        half = len(reports) // 2
        return await self._send(reports[:half]) + await self._send(reports[half:])

    def _conclude(self, reports: Sequence[Report], outcomes: Sequence[_Outcome]) -> None:
        told = list(zip(reports, outcomes, strict=True))
        self._store.delivered(report for report, outcome in told if outcome.recorded)
        if refused := {report: outcome.refused for report, outcome in told if outcome.refused is not None}:
            log.error("usage reports were refused: %s", ", ".join(sorted(set(refused.values()))))
            self._store.refuse(refused)
        if kept := [report for report, outcome in told if not outcome.recorded and outcome.refused is None]:
            self._store.give_back(kept)


def _is_readable(report: Report) -> bool:
    try:
        return isinstance(json.loads(report.body), dict)
    except (ValueError, TypeError, RecursionError):
        return False


def _is_asked_to_end() -> bool:
    """Or something that was waited for has been cancelled by somebody else."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def _tell(failure: BaseException, told: str) -> str:
    """Says why reports wait, the same thing once; its kind. A fault that is not foreseen may quote anything."""
    if isinstance(failure, BillingError):
        said = str(failure)
        if said != told:
            log.warning("usage reports wait: %s", said)
        return said
    said = type(failure).__name__
    if said != told:
        log.error("usage reports wait, for a fault of this package: %s", said)
    return said


def _pause_after(failures: int, failure: BaseException) -> float:
    """Twice as long each time, or as long as the service asks for."""
    doubled: float = min(0.5 * 2 ** min(failures, 10), _LONGEST_PAUSE)
    asked = failure.retry_after if isinstance(failure, Unreachable) else None
    return max(doubled * random.uniform(0.5, 1), asked or 0)  # noqa: S311  spreads retries, guards nothing


def _outcomes(answer: dict[str, Any], number: int) -> list[_Outcome]:
    items: list[dict[str, Any]] = answer["items"]
    if len(items) != number:
        raise ValueError(f"reports: {number}, answers: {len(items)}")
    return [_outcome(item) for item in items]


def _outcome(item: dict[str, Any]) -> _Outcome:
    if item["success"] is True:
        return _Outcome(recorded=True)
    problem = item["problem"]
    if problem["conclusive"] is not True:
        return _Outcome(recorded=False)
    faults = "".join(f"; {fault['field']} {fault['detail']}" for fault in problem.get("errors", ()))
    return _Outcome(recorded=False, refused=one_line(f"{problem['code']}: {problem['detail']}{faults}"))
