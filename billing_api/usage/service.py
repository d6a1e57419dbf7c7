"""What customers use, as NextPanel reports it: each report counted once, and answered after its COMMIT.

A report is a fact. It is recorded even where it passes the limit, and flagged; only grants are refused, and those are
the validator's. Events and total change together under the total's row lock, so the total always equals its events.
"""

import hashlib

import msgspec

from billing_api.api_keys.service import Signer
from billing_api.usage import repository
from billing_api.usage.schemas import UsageRecorded, UsageReport
from core.clock import Clock
from core.errors import IdempotencyMismatch, InvalidInput, NotFound
from core.licensing import key as license_key
from core.settings import Secrets
from db.models.licensing import License, UsageAction, UsageEvent
from db.unit_of_work import Database, SystemTransaction

_LONGEST_KEY = 255


class UsageService:
    def __init__(self, database: Database, secrets: Secrets, clock: Clock) -> None:
        self._database = database
        self._secrets = secrets
        self._clock = clock

    async def report(self, signer: Signer, report: UsageReport, idempotency_key: str) -> UsageRecorded:
        if not 0 < len(idempotency_key) <= _LONGEST_KEY:
            raise InvalidInput(f"an Idempotency-Key of 1 to {_LONGEST_KEY} characters is required on usage reports")
        body_hash = hashlib.sha256(msgspec.json.encode(report)).digest()
        async with self._database.as_system() as tx:
            license_ = await self._license(tx, signer, report.license_key)
            if event := await repository.recorded(tx, license_.id, idempotency_key):
                return _again(event, license_, body_hash)
            total = await repository.lock_total(tx, license_, report.resource)
            used = _total_after(total.used, report)
            limit = license_.limits.of(report.resource)
            now = self._clock()
            written = await repository.write_event(
                tx,
                license_,
                resource=report.resource,
                action=report.action,
                count=report.count,
                idempotency_key=idempotency_key,
                body_hash=body_hash,
                reservation_id=report.reservation_id,
                used_after=used,
                is_overage=limit is not None and used > limit,
                occurred_at=report.occurred_at or now,
            )
            if written:
                await repository.write_total(tx, total, used, now)
                return _answer(used, limit)
            event = await repository.recorded(tx, license_.id, idempotency_key)
            assert event is not None
            return _again(event, license_, body_hash)

    async def _license(self, tx: SystemTransaction, signer: Signer, text: str) -> License:
        key = license_key.parse(text, self._secrets.license_checksum_key)
        found = None
        if key is not None:
            found = await repository.license_by_hash(tx, self._secrets.index.digest("license_key", key))
        if found is None or signer.license_id not in {None, found.id}:
            raise NotFound("there is no such licence")
        return found


def _total_after(used: int, report: UsageReport) -> int:
    match report.action:
        case UsageAction.CREATED:
            return used + report.count
        case UsageAction.DELETED:
            return used - report.count
        case UsageAction.SET:
            return report.count


def _again(event: UsageEvent, license_: License, body_hash: bytes) -> UsageRecorded:
    """The answer to a report that is recorded already."""
    if event.body_hash != body_hash:
        raise IdempotencyMismatch("this Idempotency-Key was used with another report; use a new key")
    return _answer(event.used_after, license_.limits.of(event.resource))  # type: ignore[arg-type]  # was checked when it was stored


def _answer(used: int, limit: int | None) -> UsageRecorded:
    if limit is None:
        return UsageRecorded(success=True, quota_remaining=None)
    return UsageRecorded(success=True, quota_remaining=max(0, limit - max(0, used)), overage=used > limit)
