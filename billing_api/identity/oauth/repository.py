"""SQL of OAuth clients. The customer's transaction reads named columns only, so that no hash is among them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import undefer

from db.models.identity import OAuthClient, User
from db.paging import Order
from db.reads import OwnList
from db.unit_of_work import CustomerTransaction, SystemTransaction

OLDEST_FIRST: Final = Order(OAuthClient.created_at, OAuthClient.id, descending=False)
_SHOWN: Final = (
    OAuthClient.id,
    OAuthClient.name,
    OAuthClient.scopes,
    OAuthClient.created_at,
    OAuthClient.previous_until,
)
OWN_LIVE: Final = OwnList(select(*_SHOWN).where(OAuthClient.revoked_at.is_(None)), OLDEST_FIRST)


async def count_live(tx: SystemTransaction, user_id: UUID) -> int | None:
    """Locks the owner, so that two calls at once cannot both take the last place. None for an inactive owner."""
    owner = select(User.id).where(User.id == user_id, User.is_active).with_for_update(key_share=True)
    if await tx.session.scalar(owner) is None:
        return None
    mine = (OAuthClient.user_id == user_id, OAuthClient.revoked_at.is_(None))
    statement = select(func.count()).select_from(OAuthClient).where(*mine)
    return await tx.session.scalar(statement) or 0


async def add(tx: SystemTransaction, **columns: Any) -> Any:
    return (await tx.session.execute(insert(OAuthClient).values(columns).returning(*_SHOWN))).one()


async def revoke(tx: CustomerTransaction, client_id: UUID, now: datetime) -> bool:
    """False where there is no such live client."""
    statement = update(OAuthClient).where(OAuthClient.id == client_id, OAuthClient.revoked_at.is_(None))
    return await tx.session.scalar(statement.values(revoked_at=now).returning(OAuthClient.id)) is not None


async def revoke_all(tx: SystemTransaction, user_id: UUID, now: datetime) -> int:
    """Returns how many were live."""
    mine = update(OAuthClient).where(OAuthClient.user_id == user_id, OAuthClient.revoked_at.is_(None))
    return len((await tx.session.execute(mine.values(revoked_at=now).returning(OAuthClient.id))).all())


async def rotate(
    tx: SystemTransaction, client_id: UUID, owner_id: UUID, *, secret_hash: bytes, previous_until: datetime
) -> Any | None:
    """The present hash becomes the previous one.

    A system transaction, because a customer's may not read the hash. So the statement checks the owner itself.
    """
    mine = (OAuthClient.id == client_id, OAuthClient.user_id == owner_id, OAuthClient.revoked_at.is_(None))
    changes = {"previous_hash": OAuthClient.secret_hash, "previous_until": previous_until, "secret_hash": secret_hash}
    return (await tx.session.execute(update(OAuthClient).where(*mine).values(changes).returning(*_SHOWN))).one_or_none()


async def with_hashes(tx: SystemTransaction, client_id: UUID) -> OAuthClient | None:
    """A live client of an active owner, with the hashes of its secrets."""
    hashes = (undefer(OAuthClient.secret_hash), undefer(OAuthClient.previous_hash))
    client: OAuthClient | None = await tx.session.scalar(_usable(select(OAuthClient), client_id).options(*hashes))
    return client


async def owner_and_scopes(tx: SystemTransaction, client_id: UUID) -> tuple[UUID, Sequence[str]] | None:
    row = (await tx.session.execute(_usable(select(OAuthClient.user_id, OAuthClient.scopes), client_id))).one_or_none()
    return None if row is None else (row[0], row[1])


def _usable(statement: Any, client_id: UUID) -> Any:
    usable = (OAuthClient.id == client_id, OAuthClient.revoked_at.is_(None), User.is_active)
    return statement.join(User, User.id == OAuthClient.user_id).where(*usable)
