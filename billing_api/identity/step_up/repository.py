"""SQL of a step-up, as far as it is not that of sign-in."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import select

from db.models.identity import Session
from db.unit_of_work import SystemTransaction


async def lock_live_session(tx: SystemTransaction, session_id: UUID, user_id: UUID, now: datetime) -> Session | None:
    """None where the session has ended. The lock serializes parallel tries, so that each is counted."""
    live = (
        Session.id == session_id,
        Session.user_id == user_id,
        Session.revoked_at.is_(None),
        Session.expires_at > now,
    )
    session: Session | None = await tx.session.scalar(select(Session).where(*live).with_for_update())
    return session
