"""Exactly once, as one function: the key commits with the work, or neither does."""

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from db.models.messaging import InboxRow


async def first_time(session: AsyncSession, source: str, key: str) -> bool:
    """True for the one transaction that may do the work; a second one waits for the first to end, then gets False."""
    statement = insert(InboxRow).values(source=source, key=key).on_conflict_do_nothing().returning(InboxRow.key)
    return await session.scalar(statement) is not None
