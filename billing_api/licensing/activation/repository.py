"""Activation repository: every SQL statement about activation tokens and fingerprint resets."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import DateTime, ScalarSelect, column, delete, select, table, update

from db.models.licensing import ActivationToken, License
from db.unit_of_work import CustomerTransaction, SystemTransaction

_EVENTS = table("license_events", column("license_id"), column("at", DateTime(timezone=True)), column("action"),
                column("actor"))  # fmt: skip


async def end_oldest_tokens(tx: CustomerTransaction, license_id: UUID, now: datetime, *, keep: int) -> None:
    """Ends all live tokens except the newest `keep`. The caller must hold the lock on the license's row."""
    statement = update(ActivationToken).where(ActivationToken.token_hash.in_(_live_after(license_id, now, keep)))
    await tx.session.execute(statement.values(expires_at=now).execution_options(synchronize_session=False))


async def lock_license(tx: SystemTransaction, key_hash: bytes, token_hash: bytes, *, used_too: bool) -> License | None:
    """Locks and returns the license that both hashes lead to. The token may have expired or been used meanwhile."""
    statement = (
        select(License)
        .join(ActivationToken, ActivationToken.license_id == License.id)
        .where(License.license_key_hash == key_hash, ActivationToken.token_hash == token_hash)
        .with_for_update(of=License)
    )
    if not used_too:
        statement = statement.where(ActivationToken.used_at.is_(None))
    license_: License | None = await tx.session.scalar(statement)
    return license_


async def use_token(tx: SystemTransaction, token_hash: bytes, now: datetime) -> bool:
    """Marks the token as used. True for one of several concurrent callers; False where it was not usable."""
    unspent = (
        ActivationToken.token_hash == token_hash,
        ActivationToken.used_at.is_(None),
        ActivationToken.expires_at > now,
    )
    spent = update(ActivationToken).where(*unspent).values(used_at=now).returning(ActivationToken.token_hash)
    return await tx.session.scalar(spent) is not None


async def own_resets(tx: CustomerTransaction, license_id: UUID, since: datetime) -> list[datetime]:
    """When the owner reset the fingerprint, oldest first, as the audit trail records it."""
    statement = (
        select(_EVENTS.c.at)
        .where(
            _EVENTS.c.license_id == license_id,
            _EVENTS.c.action == "license.fingerprint_reset",
            _EVENTS.c.actor == "owner",
            _EVENTS.c.at > since,
        )
        .order_by(_EVENTS.c.at)
    )
    return list((await tx.session.execute(statement)).scalars())


async def delete_expired_tokens(tx: SystemTransaction, before: datetime) -> int:
    """Deletes tokens that expired before that instant; returns how many."""
    statement = delete(ActivationToken).where(ActivationToken.expires_at < before)
    gone = await tx.session.execute(statement.returning(ActivationToken.token_hash))
    return len(gone.all())


def _live_after(license_id: UUID, now: datetime, keep: int) -> ScalarSelect[bytes]:
    return (
        select(ActivationToken.token_hash)
        .where(
            ActivationToken.license_id == license_id,
            ActivationToken.used_at.is_(None),
            ActivationToken.expires_at > now,
        )
        .order_by(ActivationToken.created_at.desc(), ActivationToken.token_hash)
        .offset(keep)
        .scalar_subquery()
    )
