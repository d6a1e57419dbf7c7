"""Every SQL statement about mails, and about the tokens in their links."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.sql import func

from billing_api.notifications.mails.rendering import TOKEN_PARAMETER
from core.mailbox import mailbox_key
from db.clock import NOW
from db.models.identity import OneTimeToken, TokenPurpose, User
from db.models.messaging import Mail
from db.unit_of_work import SystemTransaction


async def active_user(tx: SystemTransaction, user_id: UUID) -> User | None:
    user: User | None = await tx.session.scalar(select(User).where(User.id == user_id, User.is_active))
    return user


async def add_mail(tx: SystemTransaction, **columns: Any) -> UUID | None:
    """The new mail's id; None where there has been a mail on this occasion."""
    statement = insert(Mail).values(columns).on_conflict_do_nothing().returning(Mail.id)
    mail_id: UUID | None = await tx.session.scalar(statement)
    return mail_id


async def mail(tx: SystemTransaction, mail_id: UUID) -> Mail | None:
    found: Mail | None = await tx.session.scalar(select(Mail).where(Mail.id == mail_id))
    return found


async def note_sent(tx: SystemTransaction, mail_id: UUID) -> None:
    """Wipes the mail's token as well: nobody needs it any more."""
    unsent = update(Mail).where(Mail.id == mail_id, Mail.sent_at.is_(None))
    await tx.session.execute(unsent.values(sent_at=NOW, parameters=Mail.parameters.op("-")(TOKEN_PARAMETER)))


async def mails_of(tx: SystemTransaction, user_id: UUID, since: datetime) -> int:
    statement = select(func.count()).select_from(Mail).where(Mail.user_id == user_id, Mail.created_at > since)
    return await tx.session.scalar(statement) or 0


async def mails_to(tx: SystemTransaction, recipient: str, template: str, since: datetime) -> int:
    to_it = (Mail.recipient_key == mailbox_key(recipient), Mail.created_at > since)
    statement = select(func.count()).select_from(Mail).where(*to_it, Mail.template == template)
    return await tx.session.scalar(statement) or 0


async def add_token(
    tx: SystemTransaction, user_id: UUID, purpose: TokenPurpose, *, token_hash: bytes, expires_at: datetime
) -> None:
    row = {"token_hash": token_hash, "user_id": user_id, "purpose": purpose, "expires_at": expires_at}
    await tx.session.execute(insert(OneTimeToken).values(row))


async def spend_token(tx: SystemTransaction, purpose: TokenPurpose, token_hash: bytes, now: datetime) -> UUID | None:
    """The id of the token's user; None where it is unknown, spent or expired. Of two at once one gets None."""
    statement = update(OneTimeToken).where(
        OneTimeToken.token_hash == token_hash,
        OneTimeToken.purpose == purpose,
        OneTimeToken.used_at.is_(None),
        OneTimeToken.expires_at > now,
    )
    user_id: UUID | None = await tx.session.scalar(statement.values(used_at=now).returning(OneTimeToken.user_id))
    return user_id


async def end_tokens(tx: SystemTransaction, user_id: UUID, purpose: TokenPurpose, now: datetime) -> None:
    """Spends all of the user's unused links of this purpose."""
    unused = (OneTimeToken.user_id == user_id, OneTimeToken.purpose == purpose, OneTimeToken.used_at.is_(None))
    await tx.session.execute(update(OneTimeToken).where(*unused).values(used_at=now))


async def owner_of_token(tx: SystemTransaction, purpose: TokenPurpose, token_hash: bytes) -> UUID | None:
    """The id of the token's user, also where the token is not good any more."""
    named = select(OneTimeToken.user_id).where(OneTimeToken.token_hash == token_hash, OneTimeToken.purpose == purpose)
    user_id: UUID | None = await tx.session.scalar(named)
    return user_id
