"""Simulated NextPanel server: it reserves, then creates, then reports until it gets an answer.

Some behave worse: they drop an answer, retry with the same Idempotency-Key, forget what they have reserved, or report
and never learn the result. The seed decides what they do; the stack decides the result.
"""

import asyncio
from contextlib import suppress
from random import Random
from typing import Any, Final

from chaos.calls import API, PATIENCE, VALIDATOR, Answer, Caller
from chaos.history import GRANTED, RESERVED, Counter, History, Reservation, UsageReport
from core.clock import rfc3339, unix_time, utc_now

RESERVE: Final = "/api/v1/nextpanel/reserve"
RELEASE: Final = "/api/v1/nextpanel/release"
USAGE: Final = "/api/v1/billing/usage"

_GIVES_UP_RESERVING: Final = 5.0


class Deadline(asyncio.Event):
    """Set when the clients shall end; each first finishes what it has begun, until `hard_at`."""

    hard_at = float("inf")


class Panel:
    def __init__(
        self, name: str, chance: Random, caller: Caller, history: History, license_: tuple[str, str], ttl: float
    ) -> None:
        """`license_`: id and key; `ttl`: how long its holds last at most, in seconds."""
        self._name = name
        self._chance = chance
        self._caller = caller
        self._history = history
        self._license_id, self._license_key = license_
        self._ttl = ttl
        self._number = 0
        self._mine: list[UsageReport] = []
        """Reports of what this panel has created and not deleted."""
        self.lists = False
        """Whether the API takes many reports in one call."""

    async def work(self, end: Deadline) -> None:
        steps = {self._create: 8, self._delete: 5, self._fact: 2, self._resync: 1, self._several: 2, self._take: 2}
        while not end.is_set():
            step = self._chance.choices(list(steps), list(steps.values()))[0]
            await step(end)
            await asyncio.sleep(self._chance.uniform(0, 0.15))

    async def _create(self, end: Deadline) -> None:
        held = await self._reserve(end)
        if not held.granted:
            return
        fate = self._chance.random()
        if fate < 0.08:
            return  # the panel dies, and its hold is never reported
        with suppress(TimeoutError):
            await asyncio.wait_for(end.wait(), self._takes(held))
        if fate < 0.18:
            await self._release(held, end)
            return
        report = self._report(held.counter, "created", held.count, reservation=held)
        if fate < 0.25:
            await self._abandon(report)
            return
        await self._deliver([report], end)
        if report.acknowledged_at is not None:
            self._mine.append(report)

    def _takes(self, held: Reservation) -> float:
        """Seconds to create it: mostly almost none, now and then almost as long as the hold lasts."""
        if self._chance.random() < 0.9:
            return self._chance.uniform(0, 0.05)
        return self._chance.uniform(0, max(0.0, held.ends_at - unix_time()))

    async def _delete(self, end: Deadline) -> None:
        if self._mine:
            await self._deliver([self._deletion()], end)

    async def _fact(self, end: Deadline) -> None:
        action = self._chance.choice(("created", "deleted"))
        await self._deliver([self._report(self._counter("emails"), action, self._chance.randint(1, 3))], end)

    async def _take(self, end: Deadline) -> None:
        """An email with a reservation, although the total of emails may be below zero."""
        held = await self._reserve(end, "emails")
        if held.granted:
            await self._deliver([self._report(held.counter, "created", held.count, reservation=held)], end)

    async def _resync(self, end: Deadline) -> None:
        await self._deliver([self._report(self._counter("storage_gb"), "set", self._chance.randint(0, 20))], end)

    async def _several(self, end: Deadline) -> None:
        """Several reports, in one call where the API takes lists."""
        reports = [self._deletion() for _ in range(min(len(self._mine), self._chance.randint(0, 2)))]
        for _ in range(self._chance.randint(2, 12)):
            action = self._chance.choice(("created", "deleted"))
            reports.append(self._report(self._counter("emails"), action, self._chance.randint(1, 3)))
        if self.lists:
            await self._deliver(reports, end)
        else:
            for report in reports:
                await self._deliver([report], end)

    def _deletion(self) -> UsageReport:
        lot = self._mine.pop(self._chance.randrange(len(self._mine)))
        return self._report(lot.counter, "deleted", lot.count, undoes=lot.key)

    async def _reserve(self, end: Deadline, resource: str | None = None) -> Reservation:
        held = Reservation(
            counter=self._counter(resource or self._chance.choice(RESERVED)),
            key=self._next_key(),
            count=self._chance.choice((1, 1, 1, 2)),
            ttl=self._chance.randint(round(self._ttl / 2), round(self._ttl)),
            sent_at=unix_time(),
            log=[],
        )
        self._history.reservations.append(held)
        # Retried with the same key until there is a conclusive answer, or the panel gives up.
        ask = {
            "license_key": self._license_key,
            "resource": held.counter.resource,
            "count": held.count,
            "ttl": held.ttl,
        }
        while True:
            answer = await self._try(VALIDATOR, RESERVE, ask, held.key, held.log, "reserve")
            if answer.status == 200:
                held.answered_at = unix_time()
                held.code = GRANTED if answer.body["granted"] else answer.body["code"]
                held.reservation_id = answer.body["reservation_id"]
                return held
            held.code = answer.body.get("code", "") if answer.status else "no answer"
            if answer.conclusive or end.is_set() or unix_time() - held.sent_at > _GIVES_UP_RESERVING:
                return held
            await self._pause()

    async def _release(self, held: Reservation, end: Deadline) -> None:
        held.released_at = unix_time()
        ask = {"license_key": self._license_key, "reservation_id": held.reservation_id}
        while not (await self._try(VALIDATOR, RELEASE, ask, "", held.log, "release")).conclusive:
            if end.is_set():
                return
            await self._pause()

    def _report(
        self, counter: Counter, action: str, count: int, *, reservation: Reservation | None = None, undoes: str = ""
    ) -> UsageReport:
        report = UsageReport(
            counter=counter,
            key=self._next_key(),
            action=action,
            count=count,
            sent_at=unix_time(),
            reservation=reservation,
            undoes=undoes or None,
            occurred_at=rfc3339(utc_now()) if self._chance.random() < 0.3 else None,
            log=[],
        )
        self._history.reports.append(report)
        return report

    async def _abandon(self, report: UsageReport) -> None:
        report.abandoned = True
        patience = self._chance.uniform(0.001, 0.03)
        log = report.log
        await self._try(API, USAGE, self._wire(report), report.key, log, f"report {report.action}", patience)

    async def _deliver(self, reports: list[UsageReport], end: Deadline) -> None:
        """Sends until each is answered; those left when time is up stay unanswered."""
        waiting = reports
        while waiting and unix_time() < end.hard_at:
            if len(reports) == 1:
                await self._send(waiting[0])
            else:
                await self._send_list(waiting)
            waiting = [each for each in waiting if each.acknowledged_at is None and each.refused is None]
            if waiting:
                await self._pause()

    async def _send(self, report: UsageReport) -> None:
        answer = await self._try(
            API, USAGE, self._wire(report), report.key, report.log, f"report {report.action} {report.count}"
        )
        if answer.status == 200:
            report.acknowledged_at = unix_time()
        elif answer.conclusive:
            report.refused = str(answer)

    async def _send_list(self, reports: list[UsageReport]) -> None:
        items = [self._wire(report) | {"idempotency_key": report.key} for report in reports]
        log: list[str] = []
        answer = await self._try(API, USAGE, {"items": items}, self._next_key(), log, f"list of {len(items)}")
        at = unix_time()
        told = answer.body["items"] if answer.status == 200 else [{}] * len(reports)
        for report, item in zip(reports, told, strict=True):
            report.log += log
            if item.get("success"):
                report.acknowledged_at = at
            elif answer.conclusive and item.get("problem", {}).get("conclusive", True):
                report.refused = str(item or answer)

    def _wire(self, report: UsageReport) -> dict[str, Any]:
        content = {name: value for name, value in report.content.items() if value is not None}
        instant = {"occurred_at": report.occurred_at} if report.occurred_at else {}
        return {"license_key": self._license_key, **content, **instant}

    async def _try(
        self, service: str, path: str, content: Any, key: str, log: list[str], what: str, patience: float | None = None
    ) -> Answer:
        if patience is None:
            patience = self._chance.uniform(0.001, 0.02) if self._chance.random() < 0.06 else PATIENCE
        sent = unix_time()
        answer = await self._caller.post(service, path, content, key, patience)
        log.append(f"{sent:.3f} to {unix_time():.3f} {self._name} {what} {key}: {answer}")
        return answer

    async def _pause(self) -> None:
        await asyncio.sleep(self._chance.uniform(0.05, 0.4))

    def _counter(self, resource: str) -> Counter:
        return Counter(self._license_id, resource)

    def _next_key(self) -> str:
        self._number += 1
        return f"{self._name}-{self._number}"
