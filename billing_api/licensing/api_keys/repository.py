"""API key repository: every SQL statement about API keys."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, Select, bindparam, func, or_, select, text

from core.errors import NotFound
from db.models.licensing import ApiKey, License
from db.paging import Order
from db.reads import OwnList
from db.unit_of_work import CustomerTransaction, SystemTransaction, Transaction

NEWEST_FIRST: Final = Order(ApiKey.created_at, ApiKey.id)
OF_LICENSE: Final = OwnList(
    select(
        ApiKey.id,
        ApiKey.key_id,
        ApiKey.license_id,
        ApiKey.name,
        ApiKey.permissions,
        ApiKey.instance_id,
        ApiKey.is_active,
        ApiKey.expires_at,
        ApiKey.previous_until,
        ApiKey.last_used_at,
        ApiKey.created_at,
    ).where(ApiKey.license_id == bindparam("license_id", type_=License.id.type)),
    NEWEST_FIRST,
)
"""The keys of a license, including revoked ones."""
_NOTE_USE: Final = text(
    """
    WITH free AS (
        SELECT api_keys.id, used.address
        FROM unnest(CAST(:key_ids AS text[]), CAST(:addresses AS text[])) AS used (key_id, address)
        JOIN api_keys ON api_keys.key_id = used.key_id
        FOR UPDATE OF api_keys SKIP LOCKED)
    UPDATE api_keys SET last_used_at = greatest(last_used_at, CAST(:at AS timestamptz)),
                        last_used_address = free.address
    FROM free WHERE api_keys.id = free.id
    """
)


async def by_key_ids(tx: SystemTransaction, key_ids: Collection[str]) -> Sequence[ApiKey]:
    """The existing ones, in any order."""
    return (await tx.session.scalars(select(ApiKey).where(ApiKey.key_id.in_(key_ids)))).all()


def of_platform() -> Select[ApiKey]:
    """Revoked ones among them."""
    return select(ApiKey).where(ApiKey.license_id.is_(None))


async def lock_of_platform(tx: SystemTransaction, api_key_id: UUID) -> ApiKey:
    """The platform's key, held against every other change until the transaction ends."""
    platforms = select(ApiKey).where(ApiKey.id == api_key_id, ApiKey.license_id.is_(None))
    key: ApiKey | None = await tx.session.scalar(platforms.with_for_update())
    if key is None:
        raise NotFound("there is no such platform key")
    return key


async def lock(tx: CustomerTransaction, api_key_id: UUID) -> ApiKey:
    """The key, locked against every other change until the transaction ends."""
    key: ApiKey | None = await tx.session.scalar(select(ApiKey).where(ApiKey.id == api_key_id).with_for_update())
    # A platform key has no owner, and row-level security shows it to no customer.
    if key is None:
        raise NotFound("there is no such API key")
    return key


async def lock_own(tx: SystemTransaction, api_key_id: UUID, user_id: UUID) -> ApiKey:
    """The same in a system transaction, with the condition that row-level security would add for the customer."""
    mine = select(ApiKey).where(ApiKey.id == api_key_id, ApiKey.user_id == user_id)
    key: ApiKey | None = await tx.session.scalar(mine.with_for_update())
    if key is None:
        raise NotFound("there is no such API key")
    return key


async def count_live(tx: Transaction, license_id: UUID, now: datetime) -> int:
    """The caller must hold the lock on the license's row, so that no key is added meanwhile."""
    live = select(func.count()).select_from(ApiKey).where(ApiKey.license_id == license_id, _is_live(now))
    return await tx.session.scalar(live) or 0


async def note_use(tx: SystemTransaction, addresses: Mapping[str, str], at: datetime) -> None:
    """The address of each key, by its id. Skips keys that are locked at the moment: their next use will be written."""
    values = {"at": at, "key_ids": list(addresses), "addresses": list(addresses.values())}
    await tx.session.execute(_NOTE_USE, values)


def _is_live(now: datetime) -> ColumnElement[bool]:
    return ApiKey.is_active & or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > now)
