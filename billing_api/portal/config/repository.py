"""Portal configuration repository: what the tables say of it."""

from sqlalchemy import select

from db.models.licensing import Plan
from db.unit_of_work import SystemTransaction


async def currencies(tx: SystemTransaction) -> list[str]:
    """Of the plans on sale, by name."""
    return list(
        await tx.session.scalars(select(Plan.currency).where(Plan.is_active).distinct().order_by(Plan.currency))
    )
