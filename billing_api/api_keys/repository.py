"""Every SQL statement about API keys."""

from sqlalchemy import select

from db.models.licensing import ApiKey
from db.unit_of_work import SystemTransaction


async def by_key_id(tx: SystemTransaction, key_id: str) -> ApiKey | None:
    key: ApiKey | None = await tx.session.scalar(select(ApiKey).where(ApiKey.key_id == key_id))
    return key
