"""Explanations of verdicts for staff: PostgreSQL is read, then Redis, and both are judged at the same instant."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec
from redis.exceptions import RedisError
from sqlalchemy import Row

from billing_api.access.permissions import Principal
from billing_api.licensing.licenses.schemas import SuspensionCauseForStaff
from billing_api.operations.customers.explain import repository
from billing_api.operations.customers.explain.repository import Backlog
from billing_api.operations.customers.explain.rules import (
    Facts,
    Pending,
    Question,
    Unread,
    causes,
    facts_of,
    judged,
    state_of,
)
from billing_api.operations.customers.explain.schemas import (
    AskWhy,
    CauseView,
    PostgresSide,
    RedisSide,
    Why,
    by_side,
    verdict_of,
)
from core.clock import Clock
from core.hotstore import codec
from core.hotstore.functions import NotReady
from core.hotstore.reader import Copy, Reader
from core.licensing.plan import RESOURCES
from core.licensing.record import Usage
from db.license_records import license_record
from db.unit_of_work import Database

REDIS_WITHIN: Final = 0.5
"""Seconds; after that PostgreSQL's side is told alone."""


class _Truth(NamedTuple):
    """What PostgreSQL says. `read_at` is its own clock."""

    facts: Facts
    digest: bytes
    read_at: datetime
    updated_at: datetime
    causes: list[SuspensionCauseForStaff]
    backlog: Backlog

    @property
    def pending(self) -> Sequence[Pending]:
        return [Pending(*one) for one in self.backlog.mine]


class Explanations:
    def __init__(self, database: Database, hot_store: Reader, clock: Clock) -> None:
        self._database = database
        self._hot_store = hot_store
        self._clock = clock

    async def explain(self, principal: Principal, license_id: UUID, asked: AskWhy) -> Why:
        truth = await self._truth(principal, license_id)
        copy = await self._copy(truth.digest)
        if isinstance(copy, Copy) and _is_newer(copy, truth):  # it was changed after it was read here
            truth = await self._truth(principal, license_id)
        now = self._clock()
        return _why(license_id, Question(asked.feature, asked.fingerprint, now.timestamp()), truth, copy, now)

    async def _truth(self, principal: Principal, license_id: UUID) -> _Truth:
        async with self._database.as_staff(principal.user_id) as tx:
            row = await repository.license_row(tx, license_id)
            totals = await repository.totals(tx, license_id)
            backlog = await repository.backlog(tx, license_id)
        return _truth(row, totals, backlog)

    async def _copy(self, license_hash: bytes) -> Copy | Unread:
        """`unreachable` also where Redis lacks this release's functions."""
        try:
            async with asyncio.timeout(REDIS_WITHIN):
                return await self._hot_store.read_copy(license_hash)
        except (RedisError, OSError, NotReady):  # TimeoutError is an OSError
            return "unreachable"
        except (msgspec.MsgspecError, ValueError):
            return "unreadable"


def _truth(row: Row[Any], totals: Sequence[Row[str, int, int]], backlog: Backlog) -> _Truth:
    digest, record = license_record(row)
    opened = msgspec.convert(row.suspension_causes, list[SuspensionCauseForStaff])
    known = [(name, used, version) for name, used, version in totals if name in RESOURCES]
    # Through the codec, as the relay sends it: so both sides are compared as validators read them.
    facts = Facts(
        codec.decode_license(codec.encode_license(record)),
        Usage({name: used for name, used, _ in known}),
        {name: (record.epoch, version) for name, _, version in known},
    )
    return _Truth(facts, digest, row.read_at, row.updated_at, opened, backlog)


def _instant(unix: float | None) -> datetime | None:
    return None if unix is None else datetime.fromtimestamp(unix, UTC)


def _is_newer(copy: Copy, truth: _Truth) -> bool:
    here, there = truth.facts.record, copy.reading.record
    if here is not None and there is not None and (there.epoch, there.version) > (here.epoch, here.version):
        return True
    return any(stamp > truth.facts.stamps.get(name, (0, 0)) for name, stamp in copy.stamps.items())


def _why(license_id: UUID, question: Question, truth: _Truth, copy: Copy | Unread, now: datetime) -> Why:
    state = state_of(copy)
    facts = facts_of(copy) if isinstance(copy, Copy) and state in {"read", "unconfirmed"} else None
    here = judged(truth.facts, question)
    there = None if facts is None else judged(facts, question)
    rules = by_side(here, there)
    stamps = verdict_of(here, truth.facts), verdict_of(there, facts)
    through = _instant(copy.synced_through) if isinstance(copy, Copy) else None
    waiting = truth.pending
    return Why(
        license_id=license_id,
        feature=question.feature,
        asked_at=now,
        differs=there is not None and (stamps[0] != stamps[1] or any(rule.differs for rule in rules)),
        causes=[
            CauseView.of(cause)
            for cause in causes(truth.facts, copy, waiting, question, all_seen=truth.backlog.is_whole)
        ],
        suspension_causes=truth.causes,
        postgres=PostgresSide(**stamps[0], as_of=truth.read_at, age_seconds=0.0, updated_at=truth.updated_at),
        redis=RedisSide(
            **stamps[1],
            state=state,
            as_of=through,
            age_seconds=None if through is None else max(0.0, round((truth.read_at - through).total_seconds(), 3)),
            waiting_since=min((one.since for one in waiting), default=None),
        ),
        rules=rules,
    )
