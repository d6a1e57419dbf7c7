"""Reads of one statement: whatever plan PostgreSQL chooses, a customer sees all of their own rows and no other."""

import importlib
import json
import pkgutil
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

import asyncpg  # type: ignore[import-untyped]  # it ships no types
import pytest
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

import billing_api
from billing_api.commerce.checkout.repository import OWN as CHECKOUT
from billing_api.commerce.invoices.repository import INVOICE, INVOICES
from billing_api.commerce.payments.repository import PAYMENT, PAYMENTS
from billing_api.commerce.subscriptions.own_repository import OWN_LIST as SUBSCRIPTIONS
from billing_api.commerce.subscriptions.own_repository import OWN_ONE as SUBSCRIPTION
from billing_api.identity.oauth.repository import OWN_LIVE as CLIENTS
from billing_api.identity.sessions.repository import OWN_LIVE as SESSIONS
from billing_api.licensing.api_keys.repository import OF_LICENSE as KEYS
from billing_api.licensing.licenses.own_repository import OWN_ID, OWN_LIST, OWN_ONE, OWN_USAGE
from billing_api.licensing.usage_history.repository import OWN_HISTORY, Window, names_of
from billing_api.operations.audit.repository import EVENTS
from billing_api.portal.overview.repository import OVERVIEW
from core.clock import utc_now
from core.errors import InvalidInput
from core.ids import new_id
from core.licensing.plan import RESOURCES
from db.models.all_tables import METADATA
from db.paging import Paging
from db.reads import CustomerReads, OwnList, OwnStatement, Values
from tests.support.databases import as_owner, opened
from tests.support.rows import STARTER_PLAN, a_row
from tests.support.servers import DatabaseUrls

EACH: Final = 7
LISTS: Final = {
    "licenses": OWN_LIST,
    "subscriptions": SUBSCRIPTIONS,
    "invoices": INVOICES,
    "payments": PAYMENTS,
    "sessions": SESSIONS,
    "oauth_clients": CLIENTS,
    "api_keys": KEYS,
    "audit_log": EVENTS,
}
ONES: Final = {
    OWN_ONE: ("licenses", "license_id"),
    OWN_USAGE: ("licenses", "license_id"),
    OWN_ID: ("licenses", "license_id"),
    SUBSCRIPTION: ("subscriptions", "subscription_id"),
    CHECKOUT: ("checkout_sessions", "checkout_id"),
    INVOICE: ("invoices", "invoice_id"),
    PAYMENT: ("payments", "payment_id"),
    OVERVIEW: ("users", "user_id"),
}
"""Each with the table of the row that it finds, and the name of that row's id."""
MADE: Final = (
    *("licenses", "subscriptions", "checkout_sessions", "invoices", "payments"),
    *("sessions", "oauth_clients", "api_keys", "usage_events"),
)
INSTANT: Final = utc_now()
NOW: Final = {"now": INSTANT, "lately": INSTANT, "soon": INSTANT}
A_PAGE: Final = {"limit": EACH + 1, "offset": 0}
NEWEST_IN_OVERVIEW: Final = 5


class Owns(NamedTuple):
    """`ids`: of the rows, by table. `license_id`: that of the keys, events and reports."""

    ids: Mapping[str, set[Any]]
    license_id: UUID


Owned = Mapping[UUID, Owns]
"""Two customers' rows."""


@pytest.fixture(scope="module")
async def owned(database_urls: DatabaseUrls) -> AsyncIterator[Owned]:
    async with opened(database_urls):
        async with as_owner(database_urls) as owner:
            rows = {user_id: await _owns(owner, user_id) for user_id in (new_id(), new_id())}
        yield rows


async def _owns(owner: AsyncConnection, user_id: UUID) -> Owns:
    ids: dict[str, set[Any]] = defaultdict(set)
    made: dict[str, Mapping[str, Any]] = {"plans": {"id": STARTER_PLAN}}
    for name in ("users", *(name for name in MADE for _ in range(EACH))):
        row = a_row(METADATA.tables[name], user_id, made)
        if name in {"api_keys", "usage_events"}:
            row["license_id"] = made["licenses"]["id"]
        if name == "usage_events":
            row["resource"] = RESOURCES[0]
        await owner.execute(insert(METADATA.tables[name]).values(row))
        made[name] = row
        ids[name].add(row.get("id"))
    license_id: UUID = made["licenses"]["id"]
    about = {"action": "license.label_changed", "target_kind": "license", "target_id": str(license_id), "detail": {}}
    for _ in range(EACH):
        noted = insert(METADATA.tables["audit_log"]).values(about).returning(METADATA.tables["audit_log"].c.id)
        ids["audit_log"].add(await owner.scalar(noted))
    return Owns(ids, license_id)


def _values(owns: Owns) -> dict[str, Any]:
    """Of every list."""
    return NOW | {"license_id": owns.license_id}


def _history(owns: Owns) -> dict[str, Any]:
    """All resources, since the epoch, in one bucket of a century."""
    since, until = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
    return names_of(owns.license_id, RESOURCES, Window(since, until, timedelta(days=36_525)))


@pytest.fixture(scope="module")
async def reads(database_urls: DatabaseUrls) -> AsyncIterator[CustomerReads]:
    reads = CustomerReads(database_urls.api, name="test")
    yield reads
    await reads.close()


async def found(connection: Any, statement: OwnStatement, user_id: UUID, values: Values) -> Sequence[Any]:
    rows: Sequence[Any] = await connection.fetch(statement.text, str(user_id), *statement.arguments(values))
    return rows


async def seen(connection: Any, statement: OwnStatement, user_id: UUID, values: Values) -> set[Any]:
    return {row["id"] for row in await found(connection, statement, user_id, values)}


async def begins_with_the_speaker(connection: Any, statement: OwnStatement, user_id: UUID, values: Values) -> bool:
    """Whether no row is looked at before it is set who asks."""
    explain = f"EXPLAIN (FORMAT JSON) {statement.text}"
    ((told,),) = await connection.fetch(explain, str(user_id), *statement.arguments(values))
    top = json.loads(told)[0]["Plan"]
    outer = next(plan for plan in top["Plans"] if plan["Parent Relationship"] == "Outer")
    return (top["Node Type"], outer["Node Type"], outer.get("CTE Name")) == ("Nested Loop", "CTE Scan", "speaker")


async def overview_has_all_parts(connection: Any, user_id: UUID, owns: Owns) -> None:
    (row,) = await found(connection, OVERVIEW, user_id, NOW | {"user_id": user_id})
    assert (row["licenses"], row["invoices"], row["subscriptions"]) == (EACH, EACH, EACH)
    assert {UUID(one["id"]) for one in json.loads(row["newest_licenses"])} == owns.ids["licenses"]
    invoices = {UUID(one["id"]) for one in json.loads(row["newest_invoices"])}
    assert len(invoices) == NEWEST_IN_OVERVIEW
    assert invoices <= owns.ids["invoices"]
    about = {UUID(one["subscription_id"]) for one in json.loads(row["attention"]) if one["subscription_id"]}
    assert about == owns.ids["subscriptions"]


async def test_no_plan_hides_a_row_and_none_shows_a_strangers(database_urls: DatabaseUrls, owned: Owned) -> None:
    connection = await asyncpg.connect(database_urls.api)
    try:
        methods = [row[0] for row in await connection.fetch("SELECT name FROM pg_settings WHERE name LIKE 'enable_%'")]
        assert {"enable_nestloop", "enable_seqscan", "enable_material", "enable_memoize"} <= {*methods}
        for without in ([], *([method] for method in methods), methods):
            for method in without:
                await connection.execute(f"SET {method} = off")
            ada, bobs = next(iter(owned)), [*owned.values()][1]
            for user_id, owns in owned.items():
                for name, own in LISTS.items():
                    values = _values(owns) | A_PAGE
                    assert await seen(connection, own.statement(), user_id, values) == owns.ids[name], (name, without)
                    assert await begins_with_the_speaker(connection, own.statement(), user_id, values), without
                for one, (table, name) in ONES.items():
                    some = next(iter(owns.ids[table]))
                    assert await seen(connection, one, user_id, NOW | {name: some}) == {some}, (name, without)
                    assert await begins_with_the_speaker(connection, one, user_id, NOW | {name: some}), without
                (bucket,) = await found(connection, OWN_HISTORY, user_id, _history(owns))
                assert bucket["created"] == EACH, without
                assert await begins_with_the_speaker(connection, OWN_HISTORY, user_id, _history(owns)), without
                await overview_has_all_parts(connection, user_id, owns)
            for one, (table, name) in ONES.items():
                foreign = next(iter(bobs.ids[table]))
                assert await seen(connection, one, ada, NOW | {name: foreign}) == set(), (name, without)
            for name in ("api_keys", "audit_log"):
                assert await seen(connection, LISTS[name].statement(), ada, _values(bobs) | A_PAGE) == set(), without
            assert await found(connection, OWN_HISTORY, ada, _history(bobs)) == [], without
            await connection.execute("RESET ALL")
    finally:
        await connection.close()


def test_every_read_of_the_application_is_tried_above() -> None:
    names = [name for _, name, _ in pkgutil.walk_packages(billing_api.__path__, "billing_api.")]
    modules = [importlib.import_module(name) for name in names if name.endswith("repository")]
    reads = {id(it) for module in modules for it in vars(module).values() if isinstance(it, OwnStatement | OwnList)}
    assert reads == {*map(id, ONES), id(OWN_HISTORY), *map(id, LISTS.values())}


async def test_who_has_spoken_is_forgotten_with_the_statement(reads: CustomerReads, owned: Owned) -> None:
    for user_id in owned:
        assert len(await reads.rows(user_id, OWN_LIST.statement(), NOW | A_PAGE)) == EACH
        async with reads.session() as driver:  # the connection that was just used
            ((name, speaker, number),) = await driver.fetch(
                "SELECT current_user, np_current_user(), (SELECT count(*) FROM licenses)"
            )
        assert (name, speaker, number) == ("np_api", None, 0)


@pytest.mark.parametrize("name", LISTS)
async def test_a_list_is_walked_by_its_cursor_and_tells_its_length_on_every_page(
    reads: CustomerReads, owned: Owned, name: str
) -> None:
    for user_id, owns in owned.items():
        walked: list[Any] = []
        cursor: str | None = None
        for size in (3, 3, 1):
            paging = Paging("a list", limit=3, cursor=cursor)
            rows = await LISTS[name].page(reads, user_id, paging, values=_values(owns))
            assert (len(rows.rows), rows.total) == (size, EACH)
            walked += [row.id for row in rows.rows]
            cursor = rows.next_cursor
        assert cursor is None
        assert (len(walked), {*walked}) == (EACH, owns.ids[name])


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
