"""SQL of live sessions. The rotation of refresh tokens is in identity/accounts/repository.py."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, bindparam, select, text, update
from sqlalchemy.orm import InstrumentedAttribute

from db.models.identity import Role, Session, TotpFactor, User
from db.paging import Order
from db.reads import OwnList, Statement
from db.unit_of_work import CustomerTransaction, SystemTransaction, Transaction

LAST_USED_FIRST: Final = Order(Session.last_seen_at, Session.id)
"""The one order that changes: a session that is used comes to the front, where a new walk finds it."""
_SHOWN: tuple[InstrumentedAttribute[object], ...] = (
    Session.id,
    Session.user_agent,
    Session.address,
    Session.created_at,
    Session.last_seen_at,
    Session.expires_at,
)


async def live_role(tx: SystemTransaction, session_id: UUID, user_id: UUID, now: datetime) -> Role | None:
    """The user's role now; None where the session has ended, is not this user's, or the user is suspended."""
    rows = await tx.run(LIVE, {"session_id": session_id, "user_id": user_id, "now": now})
    return Role(rows[0].role) if rows else None


_TOUCH: Final = Statement(
    text(
        """
        WITH used AS (
            SELECT id, at FROM unnest(CAST(:ids AS uuid[]), CAST(:instants AS timestamptz[])) AS used (id, at)
        ), locked AS (
            SELECT sessions.id, used.at FROM sessions JOIN used ON used.id = sessions.id
            WHERE sessions.last_seen_at < used.at ORDER BY sessions.id FOR UPDATE OF sessions
        )
        UPDATE sessions SET last_seen_at = locked.at FROM locked WHERE sessions.id = locked.id
        """
    )
)


async def strongest_proof(tx: SystemTransaction, session_id: UUID, user_id: UUID) -> tuple[bool, list[str]]:
    """Whether the user has a confirmed second factor, and the methods this session proved last (RFC 8176)."""
    factor = select(TotpFactor.user_id).where(TotpFactor.user_id == user_id, TotpFactor.confirmed_at.is_not(None))
    proved = select(Session.amr).where(Session.id == session_id, Session.user_id == user_id).scalar_subquery()
    has_factor, amr = (await tx.session.execute(select(factor.exists(), proved))).one()
    return has_factor, amr or []


async def touch(tx: SystemTransaction, uses: Mapping[UUID, datetime]) -> None:
    """Of two writes at once the later instant stays. Sessions are locked in one order by all writers."""
    await tx.run(_TOUCH, {"ids": list(uses), "instants": list(uses.values())})


async def exists(tx: CustomerTransaction, session_id: UUID) -> bool:
    """True also where the session has ended."""
    return await tx.session.scalar(select(Session.id).where(Session.id == session_id)) is not None


async def end(
    tx: Transaction, user_id: UUID, now: datetime, *, only: UUID | None = None, but: UUID | None = None
) -> list[UUID]:
    """Ends a user's sessions: all, `only` one, or all `but` one. Returns the ids of those that were not ended yet."""
    statement = update(Session).where(Session.user_id == user_id, Session.revoked_at.is_(None))
    if only is not None:
        statement = statement.where(Session.id == only)
    if but is not None:
        statement = statement.where(Session.id != but)
    return list(await tx.session.scalars(statement.values(revoked_at=now).returning(Session.id)))


def _lives(now: datetime | ColumnElement[datetime]) -> ColumnElement[bool]:
    return Session.revoked_at.is_(None) & (Session.expires_at > now)


OWN_LIVE: Final = OwnList(
    select(*_SHOWN).where(_lives(bindparam("now", type_=Session.expires_at.type))), LAST_USED_FIRST
)
"""Live sessions of a customer. It needs `now`."""
LIVE: Final = Statement(
    select(User.role, Session.last_seen_at)
    .join(User, User.id == Session.user_id)
    .where(
        Session.id == bindparam("session_id"),
        Session.user_id == bindparam("user_id"),
        _lives(bindparam("now", type_=Session.expires_at.type)),
        User.is_active,
    )
)
"""The user's role now, and when the session was seen last. No row: it has ended, is another user's, or the user is
suspended."""
ACTIVE_CUSTOMER: Final = Statement(
    select(User.id).where(User.id == bindparam("user_id"), User.is_active, User.role == Role.CUSTOMER)
)
