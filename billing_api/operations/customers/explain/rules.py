"""Rules of an explanation: both stores judged by the validator's own rules, and why they differ. Pure.

The rules themselves are core/licensing/verdict.py, which the validator runs as well. Nothing here decides a verdict.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, Literal, NamedTuple

from core.clock import rfc3339
from core.hotstore.reader import Copy
from core.licensing.plan import RESOURCE_OF_FEATURE, Resource
from core.licensing.record import LicenseRecord, Usage
from core.licensing.verdict import Code, Finding, Verdict, explain, judge

_SOON: Final = "within a minute"
"""Reconciliation compares both stores each minute."""

StoreState = Literal["read", "unconfirmed", "not_loaded", "unreadable", "unreachable"]
Unread = Literal["unreadable", "unreachable"]
"""Why there is no copy: what is stored is no record, or Redis did not answer in time."""
CauseCode = Literal[
    "store_unreachable",
    "store_unreadable",
    "store_not_loaded",
    "store_unconfirmed",
    "not_projected",
    "set_aside",
    "backlog",
    "no_job",
    "redis_is_newer",
    "other_content",
    "reservations",
]


class Question(NamedTuple):
    feature: str
    fingerprint: str | None
    now: float


class Facts(NamedTuple):
    """What one store knows: `record` None is certainty that there is no such license."""

    record: LicenseRecord | None
    usage: Usage
    stamps: Mapping[Resource, tuple[int, int]]
    """Epoch and version of each total."""


class Place(NamedTuple):
    """A rule among all. EXPIRED is two of them: by status, then by date."""

    rule: Code
    nth: int


class Judged(NamedTuple):
    verdict: Verdict
    findings: Mapping[Place, Finding]
    """In the order in which the rules are tried."""
    decides: Place


class Pending(NamedTuple):
    """A change that waits to be projected, and since when; with an error, it is not tried again before `due_at`."""

    since: datetime
    due_at: datetime
    attempts: int
    error: str | None


class Cause(NamedTuple):
    code: CauseCode
    detail: str


def judged(facts: Facts, question: Question) -> Judged:
    """Every rule, and the verdict that the validator would give from these facts."""
    given = (facts.record, facts.usage, question.feature, question.fingerprint, question.now)
    findings: dict[Place, Finding] = {}
    for found in explain(*given):
        findings[Place(found.rule, sum(place.rule is found.rule for place in findings))] = found
    decides = next(place for place, found in findings.items() if found.applies)
    return Judged(judge(*given), findings, decides)


def state_of(copy: Copy | Unread) -> StoreState:
    if not isinstance(copy, Copy):
        return copy
    if copy.reading.loaded is None:
        return "not_loaded"
    return "read" if copy.confirmed else "unconfirmed"


def facts_of(copy: Copy) -> Facts:
    return Facts(copy.reading.record, copy.reading.usage, copy.stamps)


def causes(
    here: Facts, copy: Copy | Unread, pending: Sequence[Pending], question: Question, *, all_seen: bool
) -> list[Cause]:
    """Why Redis may say something else than PostgreSQL, the most important first; empty where both hold the same."""
    state = state_of(copy)
    if not isinstance(copy, Copy) or state == "not_loaded":
        return [_OF_STATE[state]]
    found = [_OF_STATE[state]] if state == "unconfirmed" else []
    found += _of_records(here.record, copy.reading.record)
    found += _of_totals(here, facts_of(copy), question)
    if any(cause.code == "not_projected" for cause in found):
        found += _of_jobs(pending, all_seen=all_seen)
    return found + _of_holds(copy, question)


_OF_STATE: Final[Mapping[StoreState, Cause]] = {
    "unreachable": Cause(
        "store_unreachable",
        "Redis did not answer in time: validators answer from their cache for up to 5 minutes, marked stale; see "
        "/health/dependencies",
    ),
    "unreadable": Cause(
        "store_unreadable",
        f"what Redis holds under this license's key is no record of this release: reconciliation repairs it {_SOON}; "
        "if it comes back, look for a process of another release",
    ),
    "not_loaded": Cause(
        "store_not_loaded",
        "this license's bucket of Redis is being filled: validators answer 503 until it is; see the workers' "
        "/health/ready",
    ),
    "unconfirmed": Cause(
        "store_unconfirmed",
        "the Redis server restarted or was promoted, and its data has not been compared with PostgreSQL since: "
        "validators mark their answers stale until it has",
    ),
}


def _of_records(here: LicenseRecord | None, there: LicenseRecord | None) -> list[Cause]:
    if here is None:
        return []
    if there is None or there.tombstone:
        return [Cause("not_projected", "Redis has no record under the license's present key")]
    ages = (here.epoch, here.version), (there.epoch, there.version)
    if ages[1] < ages[0]:
        told = f"Redis has version {there.version} of the license, PostgreSQL {here.version}"
        return [Cause("not_projected", told)]
    if ages[1] > ages[0]:
        told = f"Redis has {there.epoch}:{there.version} (epoch:version), PostgreSQL {here.epoch}:{here.version}"
        return [Cause("redis_is_newer", f"{told}: after a restore from a backup, raise the epoch (docs/operations.md)")]
    other = [name for name in here.__struct_fields__ if getattr(here, name) != getattr(there, name)]
    if other:
        told = f"both have version {here.version}, but another {', '.join(other)}: reconciliation repairs it"
        return [Cause("other_content", f"{told} {_SOON}")]
    return []


def _of_totals(here: Facts, there: Facts, question: Question) -> list[Cause]:
    """Of the resource that is asked about; the others do not change this verdict."""
    resource = RESOURCE_OF_FEATURE.get(question.feature)
    if resource is None or here.stamps.get(resource) == there.stamps.get(resource):
        return []
    known = there.stamps.get(resource)
    told = f"of {resource}, PostgreSQL has total {here.usage.used.get(resource, 0)}"
    seen = "none" if known is None else f"{there.usage.used.get(resource, 0)}"
    return [Cause("not_projected", f"{told}, Redis {seen}")]


def _of_jobs(pending: Sequence[Pending], *, all_seen: bool) -> list[Cause]:
    parked = [Cause("set_aside", _parked(one)) for one in pending if one.error is not None]
    if parked:
        return parked
    if pending:
        since = min(one.since for one in pending)
        return [Cause("backlog", f"changes wait for the relay ({len(pending)}), the oldest since {rfc3339(since)}")]
    if not all_seen:
        return [Cause("backlog", "many changes wait for the relay: check that the workers run and reach Redis")]
    told = "no job carries this change: it is in Redis by now, or reconciliation repairs it"
    return [Cause("no_job", f"{told} {_SOON}")]


def _parked(one: Pending) -> str:
    told = f"the change of {rfc3339(one.since)} failed (attempt {one.attempts}) and is tried again at"
    return f"{told} {rfc3339(one.due_at)}: {one.error}"


def _of_holds(copy: Copy, question: Question) -> list[Cause]:
    resource = RESOURCE_OF_FEATURE.get(question.feature)
    held = 0 if resource is None else copy.reading.usage.held.get(resource, 0)
    if not held:
        return []
    told = f"{held} of {resource} are reserved by panels that are creating something; reservations are in Redis alone"
    return [Cause("reservations", told)]
