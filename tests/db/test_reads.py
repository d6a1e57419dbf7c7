"""Reads of one statement: whatever plan PostgreSQL chooses, a customer sees all of their own rows and no other."""

import importlib
import json
import pkgutil
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final
from uuid import UUID

import asyncpg  # type: ignore[import-untyped]  # it ships no types
import pytest
from sqlalchemy import insert

import billing_api
from billing_api.commerce.payments.repository import INVOICES, PAYMENTS
from billing_api.licensing.licenses.own_repository import OWN_LIST, OWN_ONE, OWN_USAGE
from core.clock import utc_now
from core.errors import InvalidInput
from core.ids import new_id
from db.models.all_tables import METADATA
from db.paging import Paging
from db.reads import CustomerReads, OwnList, OwnStatement
from tests.support.databases import as_owner, opened
from tests.support.rows import STARTER_PLAN, a_row
from tests.support.servers import DatabaseUrls

EACH: Final = 7
LISTS: Final = {"licenses": OWN_LIST, "invoices": INVOICES, "payments": PAYMENTS}
ONES: Final = (OWN_ONE, OWN_USAGE)
NOW: Final = {"now": utc_now()}
AS_A_WHOLE: Final = NOW | {"limit": EACH + 1, "offset": 0}

Owned = Mapping[UUID, Mapping[str, set[UUID]]]
"""The ids of two customers' rows, by user and table."""


@pytest.fixture(scope="module")
async def owned(database_urls: DatabaseUrls) -> AsyncIterator[Owned]:
    owned: dict[UUID, dict[str, set[UUID]]] = {new_id(): {name: set() for name in LISTS} for _ in range(2)}
    async with opened(database_urls):
        async with as_owner(database_urls) as owner:
            for user_id, ids in owned.items():
                await owner.execute(
                    insert(METADATA.tables["users"]).values(a_row(METADATA.tables["users"], user_id, {}))
                )
                made: dict[str, Mapping[str, Any]] = {"plans": {"id": STARTER_PLAN}}
                for name in [name for name in LISTS for _ in range(EACH)]:
                    made[name] = a_row(METADATA.tables[name], user_id, made)
                    await owner.execute(insert(METADATA.tables[name]).values(made[name]))
                    ids[name].add(made[name]["id"])
        yield owned


@pytest.fixture(scope="module")
async def reads(database_urls: DatabaseUrls) -> AsyncIterator[CustomerReads]:
    reads = CustomerReads(database_urls.api, name="test")
    yield reads
    await reads.close()


async def seen(connection: Any, statement: OwnStatement, user_id: UUID, **values: Any) -> set[UUID]:
    return {row["id"] for row in await connection.fetch(statement.text, str(user_id), *statement.arguments(values))}


async def begins_with_the_speaker(connection: Any, statement: OwnStatement, user_id: UUID, **values: Any) -> bool:
    """Whether no row is looked at before it is set who asks."""
    explain = f"EXPLAIN (FORMAT JSON) {statement.text}"
    ((told,),) = await connection.fetch(explain, str(user_id), *statement.arguments(values))
    top = json.loads(told)[0]["Plan"]
    outer = next(plan for plan in top["Plans"] if plan["Parent Relationship"] == "Outer")
    return (top["Node Type"], outer["Node Type"], outer.get("CTE Name")) == ("Nested Loop", "CTE Scan", "speaker")


async def test_no_plan_hides_a_row_and_none_shows_a_strangers(database_urls: DatabaseUrls, owned: Owned) -> None:
    connection = await asyncpg.connect(database_urls.api)
    try:
        methods = [row[0] for row in await connection.fetch("SELECT name FROM pg_settings WHERE name LIKE 'enable_%'")]
        assert {"enable_nestloop", "enable_seqscan", "enable_material", "enable_memoize"} <= {*methods}
        for without in ([], *([method] for method in methods), methods):
            for method in without:
                await connection.execute(f"SET {method} = off")
            for user_id, ids in owned.items():
                for name, own in LISTS.items():
                    shown = await seen(connection, own.statement(), user_id, **AS_A_WHOLE)
                    assert shown == ids[name], (name, without)
                    assert await begins_with_the_speaker(connection, own.statement(), user_id, **AS_A_WHOLE), without
                some = next(iter(ids["licenses"]))
                for one in ONES:
                    assert await seen(connection, one, user_id, **NOW, license_id=some) == {some}, without
                    assert await begins_with_the_speaker(connection, one, user_id, **NOW, license_id=some), without
            ada, bob = owned
            foreign = next(iter(owned[bob]["licenses"]))
            for one in ONES:
                assert await seen(connection, one, ada, **NOW, license_id=foreign) == set(), without
            await connection.execute("RESET ALL")
    finally:
        await connection.close()


def test_every_read_of_the_application_is_tried_above() -> None:
    names = [name for _, name, _ in pkgutil.walk_packages(billing_api.__path__, "billing_api.")]
    modules = [importlib.import_module(name) for name in names if name.endswith("repository")]
    reads = {id(it) for module in modules for it in vars(module).values() if isinstance(it, OwnStatement | OwnList)}
    assert reads == {*map(id, ONES), *map(id, LISTS.values())}


async def test_who_has_spoken_is_forgotten_with_the_statement(reads: CustomerReads, owned: Owned) -> None:
    for user_id in owned:
        assert len(await reads.rows(user_id, OWN_LIST.statement(), AS_A_WHOLE)) == EACH
        async with reads.session() as driver:  # the connection that was just used
            ((name, speaker, number),) = await driver.fetch(
                "SELECT current_user, np_current_user(), (SELECT count(*) FROM licenses)"
            )
        assert (name, speaker, number) == ("np_api", None, 0)


@pytest.mark.parametrize("name", LISTS)
async def test_a_list_is_walked_by_its_cursor_and_tells_its_length_on_every_page(
    reads: CustomerReads, owned: Owned, name: str
) -> None:
    for user_id, ids in owned.items():
        found: list[UUID] = []
        cursor: str | None = None
        for size in (3, 3, 1):
            rows = await LISTS[name].page(reads, user_id, Paging("a list", limit=3, cursor=cursor), values=NOW)
            assert (len(rows.rows), rows.total) == (size, EACH)
            found += [row.id for row in rows.rows]
            cursor = rows.next_cursor
        assert cursor is None
        assert (len(found), {*found}) == (EACH, ids[name])


async def test_behind_the_end_the_length_is_told_as_well(reads: CustomerReads, owned: Owned) -> None:
    user_id = next(iter(owned))
    for filters, total in (({}, EACH), ({"status": "active"}, EACH), ({"status": "cancelled"}, 0)):
        rows = await OWN_LIST.page(reads, user_id, Paging("all", offset=100), filters=filters, values=NOW)
        assert (rows.rows, rows.total, rows.next_cursor) == ([], total, None)
    stranger = await OWN_LIST.page(reads, new_id(), Paging("all"), values=NOW)
    assert (stranger.rows, stranger.total) == ([], 0)


async def test_a_cursor_of_another_list_is_refused(reads: CustomerReads, owned: Owned) -> None:
    user_id = next(iter(owned))
    rows = await OWN_LIST.page(reads, user_id, Paging("one list", limit=1), values=NOW)
    with pytest.raises(InvalidInput, match="belongs to another list"):
        await OWN_LIST.page(reads, user_id, Paging("another", cursor=rows.next_cursor), values=NOW)
