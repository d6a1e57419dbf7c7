"""A user with a row in every table that may hold one."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import insert

from db.models.all_tables import METADATA
from tests.support.databases import as_owner
from tests.support.rows import STARTER_PLAN, a_row
from tests.support.servers import DatabaseUrls


async def fill(urls: DatabaseUrls, user_id: UUID, **changes: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """A row in each table with a customer's data, by table; `changes` replaces generated values."""
    made: dict[str, Mapping[str, Any]] = {"plans": {"id": STARTER_PLAN}, "users": {"id": user_id}}
    events = METADATA.tables["usage_events"]  # which lead to their license without a foreign key
    async with as_owner(urls) as owner:
        for table in [*(table for table in METADATA.sorted_tables if table is not events), events]:
            if "user_id" in table.c:
                made[table.name] = {**a_row(table, user_id, made), **changes.get(table.name, {})}
                if table is events:
                    made[table.name] = {**made[table.name], "license_id": made["licenses"]["id"]}
                await owner.execute(insert(table).values(made[table.name]))
    return made
