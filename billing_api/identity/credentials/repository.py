"""SQL of passwords, password reset, and changes of address."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, delete, exists, select, update
from sqlalchemy.orm import undefer
from sqlalchemy.sql import func

from core.mailbox import mailbox_key
from db.models.identity import EmailChange, OneTimeToken, Session, TokenPurpose, User
from db.models.licensing import ActivationToken, License
from db.unit_of_work import SystemTransaction


async def user_by_email(tx: SystemTransaction, email: str) -> User | None:
    """With the password's hash."""
    user: User | None = await tx.session.scalar(_with_hash.where(_has_email(email)))
    return user


async def user_by_id(tx: SystemTransaction, user_id: UUID) -> User | None:
    """With the password's hash."""
    user: User | None = await tx.session.scalar(_with_hash.where(User.id == user_id))
    return user


async def lock_user(tx: SystemTransaction, user_id: UUID) -> User | None:
    """Every change of a password or an address takes this lock first, so that changes are serialized."""
    by_id = _with_hash.where(User.id == user_id)
    user: User | None = await tx.session.scalar(by_id.with_for_update(key_share=True))
    return user


async def reset_token_owner(tx: SystemTransaction, token_hash: bytes, now: datetime) -> User | None:
    """The user of a valid reset link; the link is not used up."""
    token = select(OneTimeToken.user_id).where(OneTimeToken.token_hash == token_hash, *_good_reset_tokens(now))
    user: User | None = await tx.session.scalar(select(User).where(User.id.in_(token), User.is_active))
    return user


async def end_reset_tokens(tx: SystemTransaction, user_id: UUID, now: datetime) -> None:
    good = update(OneTimeToken).where(OneTimeToken.user_id == user_id, *_good_reset_tokens(now))
    await tx.session.execute(good.values(used_at=now))


async def end_sessions(tx: SystemTransaction, user_id: UUID, now: datetime) -> int:
    """Returns how many were live."""
    live = update(Session).where(Session.user_id == user_id, Session.revoked_at.is_(None), Session.expires_at > now)
    return len((await tx.session.execute(live.values(revoked_at=now).returning(Session.id))).all())


async def end_activation_tokens(tx: SystemTransaction, user_id: UUID, now: datetime) -> int:
    """Ends the tokens that a panel could still use. Returns how many there were."""
    unused = (ActivationToken.user_id == user_id, ActivationToken.used_at.is_(None), ActivationToken.expires_at > now)
    ended = update(ActivationToken).where(*unused).values(expires_at=now).returning(ActivationToken.token_hash)
    return len((await tx.session.execute(ended.execution_options(synchronize_session=False))).all())


async def proved_owner(tx: SystemTransaction, email: str) -> User | None:
    """None also where the address was registered but not proved: anybody may have typed it."""
    proved = select(User).where(_has_email(email), User.email_verified_at.is_not(None))
    user: User | None = await tx.session.scalar(proved)
    return user


async def release_address(tx: SystemTransaction, email: str, now: datetime) -> None:
    """Erases an unproved registration of this address, in favor of a user who proves it.

    A registration that staff gave a license stays: then staff have to decide. The erased row names nobody, like that of
    a deleted account (billing_api/privacy), and is removed with those.
    """
    licensed = exists().where(License.user_id == User.id)
    unproved = select(User.id).where(_has_email(email), User.email_verified_at.is_(None), ~licensed)
    user_id: UUID | None = await tx.session.scalar(unproved.with_for_update())
    if user_id is None:
        return
    # Open registrations are deleted with their tokens.
    await tx.session.execute(delete(OneTimeToken).where(OneTimeToken.user_id == user_id))
    address = f"deleted+{user_id}@invalid"
    nobody = {"email": address, "email_key": address, "full_name": "", "company_name": None, "password_hash": "!"}
    forgotten = update(User).where(User.id == user_id).values(**nobody, is_active=False, deleted_at=now)
    await tx.session.execute(forgotten.execution_options(synchronize_session=False))


async def email_changes_since(tx: SystemTransaction, user_id: UUID, since: datetime) -> int:
    asked = select(func.count()).select_from(EmailChange)
    return await tx.session.scalar(asked.where(EmailChange.user_id == user_id, EmailChange.created_at > since)) or 0


async def add_email_change(tx: SystemTransaction, change: EmailChange) -> None:
    tx.session.add(change)
    await tx.session.flush()


async def change_to_confirm(tx: SystemTransaction, token_hash: bytes, now: datetime) -> EmailChange | None:
    is_good = (EmailChange.confirmed_at.is_(None), EmailChange.closed_at.is_(None), EmailChange.expires_at > now)
    change: EmailChange | None = await tx.session.scalar(
        _afresh.where(EmailChange.confirm_hash == token_hash, *is_good)
    )
    return change


async def change_to_undo(tx: SystemTransaction, token_hash: bytes, now: datetime) -> EmailChange | None:
    is_good = (EmailChange.closed_at.is_(None), EmailChange.undo_until > now)
    change: EmailChange | None = await tx.session.scalar(_afresh.where(EmailChange.undo_hash == token_hash, *is_good))
    return change


async def close_email_changes(
    tx: SystemTransaction, user_id: UUID, now: datetime, *, also_confirmed: bool = False
) -> None:
    """Open changes can no longer be confirmed; with `also_confirmed`, confirmed ones can no longer be undone."""
    is_open = update(EmailChange).where(EmailChange.user_id == user_id, EmailChange.closed_at.is_(None))
    which = is_open if also_confirmed else is_open.where(EmailChange.confirmed_at.is_(None))
    await tx.session.execute(which.values(closed_at=now))


def _has_email(email: str) -> ColumnElement[bool]:
    return User.email_key == mailbox_key(email)


def _good_reset_tokens(now: datetime) -> tuple[ColumnElement[bool], ...]:
    is_good = (OneTimeToken.used_at.is_(None), OneTimeToken.expires_at > now)
    return (OneTimeToken.purpose == TokenPurpose.RESET_PASSWORD, *is_good)


_with_hash = select(User).options(undefer(User.password_hash)).execution_options(populate_existing=True)
_afresh = select(EmailChange).execution_options(populate_existing=True)
"""Reads the row again under the lock, instead of using what this transaction has read before."""
