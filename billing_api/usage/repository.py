"""Every SQL statement about usage reports."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert

from core.ids import new_id
from db.models.licensing import License, LicenseUsage, UsageEvent
from db.unit_of_work import SystemTransaction


async def license_by_hash(tx: SystemTransaction, key_hash: bytes) -> License | None:
    found: License | None = await tx.session.scalar(select(License).where(License.license_key_hash == key_hash))
    return found


async def recorded(tx: SystemTransaction, license_id: UUID, idempotency_key: str) -> UsageEvent | None:
    found: UsageEvent | None = await tx.session.scalar(
        select(UsageEvent).where(UsageEvent.license_id == license_id, UsageEvent.idempotency_key == idempotency_key)
    )
    return found


async def lock_total(tx: SystemTransaction, license_: License, resource: str) -> LicenseUsage:
    """The running total, made at 0 if need be, held until the transaction ends."""
    first = insert(LicenseUsage).values(license_id=license_.id, resource=resource, user_id=license_.user_id)
    await tx.session.execute(first.values(used=0, version=1).on_conflict_do_nothing())
    statement = (
        select(LicenseUsage)
        .where(LicenseUsage.license_id == license_.id, LicenseUsage.resource == resource)
        .with_for_update()
    )
    return (await tx.session.execute(statement)).scalar_one()


async def write_event(tx: SystemTransaction, license_: License, **values: Any) -> bool:
    """False where another request has just recorded this idempotency key."""
    row = {"id": new_id(), "license_id": license_.id, "user_id": license_.user_id, **values}
    statement = insert(UsageEvent).values(**row).on_conflict_do_nothing().returning(UsageEvent.id)
    return await tx.session.scalar(statement) is not None


async def write_total(tx: SystemTransaction, total: LicenseUsage, used: int, now: datetime) -> None:
    mine = (LicenseUsage.license_id == total.license_id, LicenseUsage.resource == total.resource)
    await tx.session.execute(update(LicenseUsage).where(*mine).values(used=used, updated_at=now))
