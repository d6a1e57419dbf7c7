"""Every SQL statement about mails that are to be sent, and the tokens in them."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.sql import func

from db.models.people import OneTimeToken, TokenPurpose
from db.models.plumbing import Mail
from db.unit_of_work import SystemTransaction


async def add_mail(tx: SystemTransaction, **columns: Any) -> UUID | None:
    """None where there has been a mail on this occasion."""
    statement = insert(Mail).values(columns).on_conflict_do_nothing().returning(Mail.id)
    mail_id: UUID | None = await tx.session.scalar(statement)
    return mail_id


async def mails_of(tx: SystemTransaction, user_id: UUID, since: datetime) -> int:
    statement = select(func.count()).select_from(Mail).where(Mail.user_id == user_id, Mail.created_at > since)
    return await tx.session.scalar(statement) or 0


async def mails_to(tx: SystemTransaction, recipient: str, template: str, since: datetime) -> int:
    to_him = (func.lower(Mail.recipient) == func.lower(recipient), Mail.created_at > since)
    statement = select(func.count()).select_from(Mail).where(*to_him, Mail.template == template)
    return await tx.session.scalar(statement) or 0


async def add_token(
    tx: SystemTransaction, user_id: UUID, purpose: TokenPurpose, *, token_hash: bytes, expires_at: datetime
) -> None:
    row = {"token_hash": token_hash, "user_id": user_id, "purpose": purpose, "expires_at": expires_at}
    await tx.session.execute(insert(OneTimeToken).values(row))


async def spend_token(tx: SystemTransaction, purpose: TokenPurpose, token_hash: bytes, now: datetime) -> UUID | None:
    """Whose token it was; None where it is unknown, spent or expired. Of two at once one gets None."""
    statement = update(OneTimeToken).where(
        OneTimeToken.token_hash == token_hash,
        OneTimeToken.purpose == purpose,
        OneTimeToken.used_at.is_(None),
        OneTimeToken.expires_at > now,
    )
    user_id: UUID | None = await tx.session.scalar(statement.values(used_at=now).returning(OneTimeToken.user_id))
    return user_id


async def live_until(tx: SystemTransaction, user_id: UUID, purpose: TokenPurpose, now: datetime) -> datetime | None:
    """When the last of the user's tokens expires; None where none is good any more."""
    statement = select(func.max(OneTimeToken.expires_at)).where(
        OneTimeToken.user_id == user_id,
        OneTimeToken.purpose == purpose,
        OneTimeToken.used_at.is_(None),
        OneTimeToken.expires_at > now,
    )
    expires_at: datetime | None = await tx.session.scalar(statement)
    return expires_at
