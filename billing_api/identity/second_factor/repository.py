"""SQL of second factors, recovery codes and sign-in challenges."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import bindparam, delete, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import undefer
from sqlalchemy.sql import func

from db.models.identity import RecoveryCode, Session, SignInChallenge, TotpFactor, User
from db.reads import Statement
from db.unit_of_work import SystemTransaction


async def active_user(tx: SystemTransaction, user_id: UUID) -> User | None:
    user: User | None = await tx.session.scalar(select(User).where(User.id == user_id, User.is_active))
    return user


async def lock_active_user(tx: SystemTransaction, user_id: UUID) -> User | None:
    """The lock that sign-ins take too. So a sign-in and the switching on of a factor see each other."""
    locked = select(User).where(User.id == user_id, User.is_active).with_for_update(key_share=True)
    user: User | None = await tx.session.scalar(locked)
    return user


async def set_session_amr(tx: SystemTransaction, session_id: UUID, amr: Sequence[str]) -> None:
    """Sets the methods that this session has proved (RFC 8176)."""
    await tx.session.execute(update(Session).where(Session.id == session_id).values(amr=list(amr)))


_CONFIRMED: Final = Statement(
    select(TotpFactor.user_id).where(
        TotpFactor.user_id == bindparam("user_id", type_=TotpFactor.user_id.type),
        TotpFactor.confirmed_at.is_not(None),
    )
)


async def has_factor(tx: SystemTransaction, user_id: UUID) -> bool:
    return bool(await tx.run(_CONFIRMED, {"user_id": user_id}))


async def factor(tx: SystemTransaction, user_id: UUID) -> TotpFactor | None:
    found: TotpFactor | None = await tx.session.get(TotpFactor, user_id)
    return found


async def lock_factor(tx: SystemTransaction, user_id: UUID) -> TotpFactor | None:
    """The lock serializes all tries of this user's codes, so that each is counted."""
    locked = select(TotpFactor).where(TotpFactor.user_id == user_id).with_for_update()
    found: TotpFactor | None = await tx.session.scalar(locked)
    return found


async def begin_factor(tx: SystemTransaction, user_id: UUID, secret: bytes, now: datetime) -> bool:
    """A new unconfirmed secret replaces an older unconfirmed one. False where a confirmed one exists."""
    fresh: dict[str, Any] = {"secret": secret, "started_at": now}
    fresh |= {"last_step": None, "failures": 0, "blocked_until": None}
    statement = insert(TotpFactor).values(user_id=user_id, **fresh)
    unconfirmed = TotpFactor.confirmed_at.is_(None)
    written = statement.on_conflict_do_update(index_elements=[TotpFactor.user_id], set_=fresh, where=unconfirmed)
    return await tx.session.scalar(written.returning(TotpFactor.user_id)) is not None


async def use_step(tx: SystemTransaction, user_id: UUID, step: int) -> bool:
    """False where this time step or a later one has been used. Of two calls at once one gets True."""
    unused = or_(TotpFactor.last_step.is_(None), TotpFactor.last_step < step)
    statement = update(TotpFactor).where(TotpFactor.user_id == user_id, unused).values(last_step=step)
    return await tx.session.scalar(statement.returning(TotpFactor.user_id)) is not None


async def remove_factor(tx: SystemTransaction, user_id: UUID) -> bool:
    """Removes the factor and its recovery codes. False where there was no confirmed factor."""
    statement = delete(TotpFactor).where(TotpFactor.user_id == user_id).returning(TotpFactor.confirmed_at)
    counted = await tx.session.scalar(statement) is not None
    await tx.session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user_id))
    return counted


async def replace_recovery_codes(tx: SystemTransaction, user_id: UUID, hashes: Sequence[bytes]) -> None:
    await tx.session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user_id))
    await tx.session.execute(insert(RecoveryCode), [{"code_hash": code, "user_id": user_id} for code in hashes])


async def spend_recovery_code(tx: SystemTransaction, user_id: UUID, code_hash: bytes, now: datetime) -> bool:
    """False where the code is unknown, used or another user's. Of two calls at once one gets False."""
    mine = (RecoveryCode.code_hash == code_hash, RecoveryCode.user_id == user_id, RecoveryCode.used_at.is_(None))
    statement = update(RecoveryCode).where(*mine).values(used_at=now).returning(RecoveryCode.user_id)
    return await tx.session.scalar(statement) is not None


async def recovery_codes_left(tx: SystemTransaction, user_id: UUID) -> int:
    unused = select(func.count()).where(RecoveryCode.user_id == user_id, RecoveryCode.used_at.is_(None))
    return await tx.session.scalar(unused) or 0


async def add_challenge(tx: SystemTransaction, now: datetime, **columns: Any) -> None:
    """Also deletes ended challenges of the same user, so that they do not pile up."""
    over = or_(SignInChallenge.expires_at <= now, SignInChallenge.used_at.is_not(None))
    await tx.session.execute(delete(SignInChallenge).where(SignInChallenge.user_id == columns["user_id"], over))
    await tx.session.execute(insert(SignInChallenge).values(columns))


async def end_challenges(tx: SystemTransaction, user_id: UUID) -> None:
    await tx.session.execute(delete(SignInChallenge).where(SignInChallenge.user_id == user_id))


async def lock_challenged_user(tx: SystemTransaction, token_hash: bytes) -> User | None:
    """Locks the user before the challenge, in the order of a sign-in. With the password's hash."""
    challenged = select(SignInChallenge.user_id).where(SignInChallenge.token_hash == token_hash).scalar_subquery()
    statement = select(User).where(User.id == challenged).options(undefer(User.password_hash))
    user: User | None = await tx.session.scalar(statement.with_for_update(key_share=True))
    return user


async def take_try(tx: SystemTransaction, token_hash: bytes, now: datetime, *, most: int) -> SignInChallenge | None:
    """Counts a try before it is checked. None where the challenge is used, expired, or tried too often."""
    live = (SignInChallenge.used_at.is_(None), SignInChallenge.expires_at > now, SignInChallenge.tries < most)
    statement = update(SignInChallenge).where(SignInChallenge.token_hash == token_hash, *live)
    counted = statement.values(tries=SignInChallenge.tries + 1).returning(SignInChallenge)
    challenge: SignInChallenge | None = await tx.session.scalar(counted)
    return challenge


async def use_challenge(tx: SystemTransaction, token_hash: bytes, now: datetime) -> None:
    await tx.session.execute(
        update(SignInChallenge).where(SignInChallenge.token_hash == token_hash).values(used_at=now)
    )
