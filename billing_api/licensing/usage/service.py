"""Usage reports (idempotent consumer): each report of NextPanel counts once, and is answered after its COMMIT.

A report is a fact. It is recorded and flagged even where it exceeds the limit; only the validator refuses, when it
grants. Here each report is checked by itself; batch_recording.py records many together.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

import msgspec
from redis.exceptions import RedisError

from billing_api.licensing.api_keys.signature_checker import Signer
from billing_api.licensing.usage import metrics
from billing_api.licensing.usage.batch_counting import CheckedReport, Counted
from billing_api.licensing.usage.batch_gathering import Batches
from billing_api.licensing.usage.batch_recording import Recording, ReportOutcome
from billing_api.licensing.usage.corrections import KEYS_BEGIN
from billing_api.licensing.usage.schemas import UsageItem, UsageReport
from core.clock import Clock
from core.errors import Busy, FieldError, InvalidInput, NotFound, Refusal, Unavailable
from core.hotstore import keys
from core.licensing import key as license_key
from core.licensing.counting import UsageAction
from core.parts import Part
from core.settings import Secrets
from core.telemetry import logger
from db.availability import is_absence, is_busy

_WITHIN: Final = 4.5
"""Seconds that a batch may take. A report may wait for one batch before its own, and must be answered within 10 s. That
is far less than the lifetime of a pin without its report (core.hotstore.writer.REPORT_SECONDS)."""
_LONGEST_KEY: Final = 255
_AHEAD: Final = timedelta(minutes=5)
_BEHIND: Final = timedelta(days=366)

_HASHES: Final = 4096
"""Size of the cache: most reports are about one thing, created or deleted."""

_encode: Final = msgspec.json.Encoder().encode


class _NotRecorded(Refusal):
    code = "internal"


class UsageService:
    def __init__(self, recording: Recording, secrets: Secrets, clock: Clock, part: Part | None = None) -> None:
        """`part` gets a heartbeat with each batch."""
        self._recording = recording
        self._secrets = secrets
        self._clock = clock
        self._batches: Batches[CheckedReport, ReportOutcome] = Batches(self._record, is_absence=_is_away, part=part)

    async def close(self) -> None:
        """Waits for the reports that are being recorded."""
        await self._batches.close()

    async def report(self, signer: Signer, report: UsageReport, idempotency_key: str) -> Counted:
        if not 0 < len(idempotency_key) <= _LONGEST_KEY:
            told = "too_long" if idempotency_key else "missing"
            raise InvalidInput(
                f"a usage report needs an Idempotency-Key of 1 to {_LONGEST_KEY} characters; send one",
                errors=(FieldError("Idempotency-Key", "is required", told, {"max": _LONGEST_KEY}),),
            )
        license_hash = self._license_hash(report.license_key)
        (outcome,) = await self._batches.add([self._check(signer, report, license_hash, idempotency_key)])
        checked = _outcome_or_raise(outcome)
        if isinstance(checked, Refusal):
            raise checked
        return checked

    async def report_many(self, signer: Signer, reports: Sequence[UsageItem | Refusal]) -> Sequence[Counted | Refusal]:
        """An outcome for each, in their order. Raises where the database is unavailable: no outcome is known then."""
        # 1. Check each report by itself.
        outcomes: list[Refusal | None] = []
        items: list[CheckedReport] = []
        hashes: dict[str, bytes | None] = {}  # a list is about few licenses
        for item in reports:
            try:
                if isinstance(item, Refusal):
                    raise item
                text = item.license_key
                if text not in hashes:
                    hashes[text] = self._license_hash(text)
                # As in a header, where spaces around a value do not count (RFC 9110, 5.5): so it is the same key.
                key = item.idempotency_key.strip(" \t")
                items.append(self._check(signer, item, hashes[text], key))
                outcomes.append(None)
            except Refusal as refusal:
                outcomes.append(refusal)
        metrics.count(outcome for outcome in outcomes if outcome is not None)
        # 2. Record the valid ones, and put their outcomes in the free places.
        recorded = iter(await self._batches.add(items))
        return [_outcome_or_raise(next(recorded)) if outcome is None else outcome for outcome in outcomes]

    def _license_hash(self, text: str) -> bytes | None:
        """None where the text cannot be one of our keys."""
        key = license_key.parse(text, self._secrets.license_checksum_key)
        return None if key is None else self._secrets.index.digest("license_key", key)

    def _check(
        self, signer: Signer, report: UsageReport, license_hash: bytes | None, idempotency_key: str
    ) -> CheckedReport:
        if license_hash is None:
            raise NotFound("there is no such license; check the license key")
        if not idempotency_key:
            empty = FieldError("idempotency_key", "is empty", "missing")
            raise InvalidInput("the idempotency_key is empty; send one for each report", errors=(empty,))
        if faults := self._faults(report, license_hash, idempotency_key):
            raise InvalidInput("the report is not valid; see `errors`", errors=tuple(faults))
        return CheckedReport(
            license_hash,
            signer.license_id,
            report.resource,
            report.action,
            report.count,
            idempotency_key,
            _hash(report),
            report.reservation_id,
            report.occurred_at,
        )

    def _faults(self, report: UsageReport, license_hash: bytes, idempotency_key: str) -> list[FieldError]:
        faults: list[FieldError] = []
        if idempotency_key.startswith(KEYS_BEGIN):
            faults.append(FieldError("idempotency_key", f"must not begin with {KEYS_BEGIN}, which is reserved"))
        if report.count == 0 and report.action is not UsageAction.SET:
            faults.append(FieldError("count", f"must be at least 1 for {report.action}", "too_small", {"min": 1}))
        if report.reservation_id and not keys.is_made_for(report.reservation_id, keys.short_hash(license_hash)):
            faults.append(FieldError("reservation_id", "belongs to another license"))
        if report.occurred_at is not None and not self._is_near(report.occurred_at):
            faults.append(FieldError("occurred_at", "is too far in the past or future; check the sender's clock"))
        return faults

    def _is_near(self, instant: datetime) -> bool:
        """A report may have waited for a year in a client's queue, but it cannot be about the future."""
        now = self._clock()
        return now - _BEHIND <= instant <= now + _AHEAD

    async def _record(self, reports: Sequence[CheckedReport]) -> Sequence[ReportOutcome]:
        async with asyncio.timeout(_WITHIN):
            outcomes = await self._recording.record(reports)
        metrics.BATCH.observe(len(reports))
        metrics.count(outcomes)
        return outcomes


def _outcome_or_raise(outcome: ReportOutcome | Exception) -> Counted | Refusal:
    """The outcome of a report. Raises where the cause is not the report itself."""
    if isinstance(outcome, Counted):
        return outcome
    if isinstance(outcome, Unavailable):
        raise outcome
    if isinstance(outcome, Refusal):
        return outcome
    if is_busy(outcome):
        raise Busy("reports cannot be recorded now; send them again with the same keys") from outcome
    if _is_away(outcome):
        raise Unavailable("reports cannot be recorded now; send them again with the same keys") from outcome
    logger().error("usage.report_failed", exc_info=outcome)
    refusal = _NotRecorded("the report was not recorded; tell support the request_id")
    metrics.count([refusal])
    return refusal


def _hash(report: UsageReport) -> bytes:
    """Identifies a report's content, alone or in a list. Its license is left out: idempotency keys are per license."""
    if report.reservation_id is None and report.occurred_at is None:
        return _hash_of_common(report.resource, report.action, report.count)
    # Not cached: these are hardly ever alike, and two spellings of one instant are one cache key, but two reports.
    return _hash_of(report.resource, report.action, report.count, report.reservation_id, report.occurred_at)


@lru_cache(_HASHES)
def _hash_of_common(resource: str, action: str, count: int) -> bytes:
    return _hash_of(resource, action, count, None, None)


def _hash_of(*facts: str | int | datetime | None) -> bytes:
    return hashlib.sha256(_encode(facts)).digest()


def _is_away(failure: Exception) -> bool:
    """Whether a server is unavailable: then all reports of the batch failed, and none of them is the cause."""
    return is_absence(failure) or isinstance(failure, OSError | Unavailable | RedisError)
