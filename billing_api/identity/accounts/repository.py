"""Every SQL statement about users and their sign-ins."""

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Text, bindparam, delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import aliased
from sqlalchemy.sql import func

from core.mailbox import mailbox_key
from db.models.identity import Registration, Session, TotpFactor, User
from db.reads import Statement
from db.unit_of_work import CustomerTransaction, SystemTransaction

_Actor = aliased(User, name="actor")
_SESSION: Final = (Session.id == bindparam("session_id", type_=Session.id.type)) & (Session.user_id == User.id)
PROFILE: Final = Statement(
    select(
        User.id,
        User.email,
        User.full_name,
        User.company_name,
        User.locale,
        User.time_zone,
        User.role,
        User.is_active,
        User.email_verified_at,
        User.created_at,
        TotpFactor.confirmed_at.label("factor_since"),
        Session.created_at.label("session_began"),
        _Actor.full_name.label("actors_name"),
    )
    .outerjoin(TotpFactor, (TotpFactor.user_id == User.id) & TotpFactor.confirmed_at.is_not(None))
    .outerjoin(Session, _SESSION)
    .outerjoin(_Actor, _Actor.id == bindparam("actor_id", type_=User.id.type))
    .where(User.id == bindparam("user_id", type_=User.id.type))
)
"""A user with what the account's own page shows beside it. `session_began`: NULL where the session is another user's,
which is so during an impersonation.

Read by the application: what proves a sign-in is hidden from customers' own transactions.
"""


async def lock_user(tx: SystemTransaction, email: str) -> User | None:
    user: User | None = await tx.session.scalar(select(User).where(_has_email(email)).with_for_update())
    return user


async def insert_user(tx: SystemTransaction, **columns: Any) -> User | None:
    """None where the address is known. A second insert at the same time waits for the first commit, then gets None."""
    statement = insert(User).values(columns).on_conflict_do_nothing().returning(User)
    user: User | None = await tx.session.scalar(statement)
    return user


async def change_own_user(tx: CustomerTransaction, user_id: UUID, changes: Mapping[str, str | None]) -> None:
    """Nothing changes in an account that is not active any more."""
    values = {f"new_{name}": value for name, value in changes.items()}
    await tx.run(_change_of(frozenset(changes)), values | {"user_id": user_id})


@cache
def _change_of(columns: frozenset[str]) -> Statement:
    mine = (User.id == bindparam("user_id", type_=User.id.type), User.is_active)
    changes = {name: bindparam(f"new_{name}", type_=Text()) for name in sorted(columns)}
    return Statement(update(User).where(*mine).values(changes))


async def add_registration(tx: SystemTransaction, **columns: Any) -> None:
    await tx.session.execute(insert(Registration).values(columns))


async def registration(tx: SystemTransaction, token_hash: bytes) -> Registration | None:
    found: Registration | None = await tx.session.get(Registration, token_hash)
    return found


async def forget_registrations(tx: SystemTransaction, user_id: UUID, *, before: datetime | None = None) -> int:
    """All of this user, or those that were made `before`. Returns how many are left."""
    mine = Registration.user_id == user_id
    old = mine if before is None else mine & (Registration.created_at <= before)
    await tx.session.execute(delete(Registration).where(old).execution_options(synchronize_session=False))
    return await tx.session.scalar(select(func.count()).select_from(Registration).where(mine)) or 0


async def session(tx: SystemTransaction, session_id: UUID) -> Session | None:
    """Without a lock."""
    return await tx.session.get(Session, session_id)


async def lock_session(tx: SystemTransaction, session_id: UUID) -> tuple[Session, User] | None:
    """The lock serializes two refreshes at once."""
    statement = select(Session, User).join(User, User.id == Session.user_id).where(Session.id == session_id)
    row = (await tx.session.execute(statement.with_for_update(of=Session))).one_or_none()
    return None if row is None else (row[0], row[1])


async def revoke_session(tx: SystemTransaction, session_id: UUID, now: datetime) -> UUID | None:
    """The owner's id; None where there is no such session, or it has ended."""
    live = update(Session).where(Session.id == session_id, Session.revoked_at.is_(None))
    user_id: UUID | None = await tx.session.scalar(live.values(revoked_at=now).returning(Session.user_id))
    return user_id


def _has_email(email: str) -> ColumnElement[bool]:
    return User.email_key == mailbox_key(email)
