"""Row-level security, table by table: the metadata says which tables belong to customers, so a new one is tested too.

Everything here is asked without a WHERE. Row security is what remains when a query forgets it.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, NamedTuple
from uuid import UUID

import pytest
from sqlalchemy import Table, insert, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from core.ids import new_id
from db.models.all_tables import METADATA
from db.unit_of_work import Database, Transaction
from tests.support.databases import as_owner, change, opened, rows
from tests.support.rows import STARTER_PLAN, a_row
from tests.support.servers import DatabaseUrls

OWNED: Final = [table for table in METADATA.sorted_tables if "user_id" in table.c]
OWNED_OR_USERS: Final = [*OWNED, METADATA.tables["users"]]
SIGN_IN: Final = frozenset(
    {"one_time_tokens", "registrations", "email_changes", "totp_factors", "recovery_codes", "sign_in_challenges"}
)
HIDDEN_FROM_CUSTOMERS: Final = SIGN_IN | {"mails", "customer_notes", "customer_note_versions"}
HIDDEN_FROM_STAFF: Final = SIGN_IN - {"totp_factors", "recovery_codes"}


class Two(NamedTuple):
    """Two customers, each with a row in every customer-owned table."""

    ada: UUID
    bob: UUID


@pytest.fixture(scope="module")
async def database(database_urls: DatabaseUrls) -> AsyncIterator[Database]:
    async with opened(database_urls) as database:
        yield database


@pytest.fixture(scope="module")
async def two(database: Database, database_urls: DatabaseUrls) -> Two:
    users = Two(new_id(), new_id())
    async with as_owner(database_urls) as owner:
        for user_id in users:
            made: dict[str, Mapping[str, Any]] = {"plans": {"id": STARTER_PLAN}}
            for table in METADATA.sorted_tables:
                if table.name == "users" or table in OWNED:
                    made[table.name] = a_row(table, user_id, made)
                    await owner.execute(insert(table).values(made[table.name]))
    return users


def owner_column(table: Table) -> str:
    return "id" if table.name == "users" else "user_id"


async def owners_seen(source: Transaction | AsyncConnection, table: Table) -> set[UUID] | None:
    """Whose rows a bare SELECT shows; None where the table may not be read at all."""
    connection = await source.session.connection() if isinstance(source, Transaction) else source
    try:
        async with connection.begin_nested():
            found = await connection.execute(text(f"SELECT {owner_column(table)} FROM {table.name}"))
            return set(found.scalars())
    except DBAPIError as refusal:
        if "permission denied" not in str(refusal):
            raise
        return None


def test_there_are_tables_to_walk() -> None:
    assert {table.name for table in OWNED} >= {
        "licenses", "subscriptions", "invoices", "payments", "domains", "api_keys", "usage_events", "license_usage",
        "overage_candidates",
        "sessions", "one_time_tokens", "mails", "checkout_sessions", "idempotency_keys",
    }  # fmt: skip


@pytest.mark.parametrize("table", OWNED_OR_USERS, ids=lambda table: table.name)
async def test_a_customer_sees_his_rows_only(database: Database, two: Two, table: Table) -> None:
    for user_id in two:
        async with database.as_customer(user_id) as tx:
            expected = None if table.name in HIDDEN_FROM_CUSTOMERS else {user_id}
            assert await owners_seen(tx, table) == expected


@pytest.mark.parametrize("table", OWNED_OR_USERS, ids=lambda table: table.name)
async def test_with_nobody_named_nothing_is_shown(database: Database, two: Two, table: Table) -> None:
    async with database.engine.begin() as bare:
        assert not await owners_seen(bare, table)
    async with database.as_customer(two.ada):
        pass
    async with database.engine.begin() as bare:
        assert not await owners_seen(bare, table)


@pytest.mark.parametrize("table", OWNED_OR_USERS, ids=lambda table: table.name)
async def test_staff_and_system_see_every_row(database: Database, two: Two, table: Table) -> None:
    async with database.as_system() as tx:
        assert await owners_seen(tx, table) == set(two)
    async with database.as_staff(two.ada) as tx:
        assert await owners_seen(tx, table) == (None if table.name in HIDDEN_FROM_STAFF else set(two))


async def test_a_password_hash_is_read_by_sign_in_alone(database: Database, two: Two) -> None:
    hashes = text("SELECT password_hash FROM users")
    for kind in (database.as_customer, database.as_staff):
        with pytest.raises(DBAPIError, match="permission denied"):
            async with kind(two.ada) as tx:
                await tx.session.execute(hashes)
    async with database.as_system() as tx:
        assert len((await tx.session.execute(hashes)).all()) == 2


@pytest.mark.parametrize("table", OWNED_OR_USERS, ids=lambda table: table.name)
async def test_workers_see_every_row(database_urls: DatabaseUrls, two: Two, table: Table) -> None:
    engine = create_async_engine(database_urls.worker.replace("postgresql:", "postgresql+asyncpg:"))
    try:
        async with engine.begin() as connection:
            assert await owners_seen(connection, table) == set(two)
    finally:
        await engine.dispose()


async def test_a_clients_secret_is_compared_by_the_application_alone(database: Database, two: Two) -> None:
    for column in ("secret_hash", "previous_hash"):
        for kind in (database.as_customer, database.as_staff):
            with pytest.raises(DBAPIError, match="permission denied"):
                async with kind(two.ada) as tx:
                    await tx.session.execute(text(f"SELECT {column} FROM oauth_clients"))


@pytest.mark.parametrize(
    "column",
    [
        *("mails.key", "mails.parameters", "mails.recipient_key"),
        *("sessions.refresh_hash", "sessions.previous_hash"),
        *("totp_factors.secret", "totp_factors.last_step", "recovery_codes.code_hash"),
    ],
)
async def test_staff_see_the_state_of_sign_in_and_mails_and_nothing_that_opens_something(
    database: Database, two: Two, column: str
) -> None:
    table, _, name = column.partition(".")
    with pytest.raises(DBAPIError, match="permission denied"):
        async with database.as_staff(two.ada) as tx:
            await tx.session.execute(text(f"SELECT {name} FROM {table}"))


async def attempt(database: Database, user_id: UUID, statement: str, **parameters: Any) -> int | str:
    """What a customer's statement did: the number of rows, or which fence stopped it."""
    try:
        async with database.as_customer(user_id) as tx:
            done = await tx.session.execute(text(statement), parameters)
            return int(done.rowcount)  # type: ignore[attr-defined]  # there for every statement that changes rows
    except DBAPIError as refusal:
        fences = ("permission denied", "row-level security policy")
        return next(fence for fence in fences if fence in str(refusal))


@pytest.mark.parametrize("table", OWNED_OR_USERS, ids=lambda table: table.name)
async def test_a_customer_changes_nobody_elses_rows(
    database: Database, database_urls: DatabaseUrls, two: Two, table: Table
) -> None:
    mine = owner_column(table)
    look = f"SELECT * FROM {table.name} WHERE {mine} = :bob"
    before = await rows(database_urls, look, bob=two.bob)
    for column in table.c:
        statement = f"UPDATE {table.name} SET {column.name} = {column.name} WHERE {mine} = :bob"
        assert await attempt(database, two.ada, statement, bob=two.bob) in {0, "permission denied"}
    removal = await attempt(database, two.ada, f"DELETE FROM {table.name} WHERE {mine} = :bob", bob=two.bob)
    assert removal == "permission denied"
    assert await rows(database_urls, look, bob=two.bob) == before


@pytest.mark.parametrize("table", OWNED, ids=lambda table: table.name)
async def test_a_customer_writes_no_row_in_anothers_name(
    database: Database, database_urls: DatabaseUrls, two: Two, table: Table
) -> None:
    made: dict[str, Mapping[str, Any]] = {"plans": {"id": STARTER_PLAN}, "users": {"id": two.bob}}
    for owned in ("licenses", "checkout_sessions", "subscriptions", "customer_notes"):
        [made[owned]] = await rows(database_urls, f"SELECT id FROM {owned} WHERE user_id = :bob", bob=two.bob)
    of_bob = "SELECT token_hash FROM one_time_tokens WHERE user_id = :bob"
    [made["one_time_tokens"]] = await rows(database_urls, of_bob, bob=two.bob)
    values = a_row(table, two.bob, made)
    fences = set()
    for user_id in two:
        try:
            async with database.as_customer(user_id) as tx:
                await tx.session.execute(insert(table).values(values))
                raise AssertionError("the customer could write it") if user_id == two.ada else RollBack
        except RollBack:
            fences.add("none")
        except DBAPIError as refusal:
            fences.add("permission" if "permission denied" in str(refusal) else "policy")
    # Either nobody writes here as a customer, or only the row's owner does.
    assert fences in ({"permission"}, {"policy", "none"})


@pytest.mark.parametrize("table", ["api_keys", "activation_tokens"])
async def test_nothing_that_opens_a_license_leads_to_somebody_elses(
    database: Database, database_urls: DatabaseUrls, two: Two, table: str
) -> None:
    [license_] = await rows(database_urls, "SELECT id FROM licenses WHERE user_id = :bob", bob=two.bob)
    values = a_row(METADATA.tables[table], two.ada, {"licenses": license_}) | {"license_id": license_["id"]}
    for kind in (database.as_customer, database.as_system):
        with pytest.raises(DBAPIError, match="_license_id_user_id"):
            async with kind(two.ada) as tx:
                await tx.session.execute(insert(METADATA.tables[table]).values(values))


class RollBack(Exception):
    """Leaves a transaction without its changes."""


async def test_a_row_cannot_be_given_away(database: Database, two: Two) -> None:
    gift = "UPDATE checkout_sessions SET user_id = :bob WHERE user_id = :ada"
    assert await attempt(database, two.ada, gift, ada=two.ada, bob=two.bob) == "row-level security policy"


@pytest.mark.parametrize("column", ["role", "email", "password_hash", "email_verified_at", "is_active", "id"])
async def test_a_customer_does_not_promote_himself(database: Database, two: Two, column: str) -> None:
    assert await attempt(database, two.ada, f"UPDATE users SET {column} = {column}") == "permission denied"


async def test_a_customer_changes_his_own_name(database: Database, database_urls: DatabaseUrls, two: Two) -> None:
    assert await attempt(database, two.ada, "UPDATE users SET full_name = 'Ada'") == 1
    names = await rows(database_urls, "SELECT id FROM users WHERE full_name = 'Ada'")
    assert names == [{"id": two.ada}]


@pytest.mark.parametrize("table", ["outbox", "webhook_events", "audit_log", "inbox", "payment_intents", "plans"])
async def test_a_customer_does_not_touch_the_plumbing(database: Database, two: Two, table: str) -> None:
    assert await attempt(database, two.ada, f"DELETE FROM {table}") == "permission denied"
    if table != "plans":
        assert await attempt(database, two.ada, f"SELECT * FROM {table}") == "permission denied"


async def test_a_partition_shows_no_row_that_its_parent_hides(
    database: Database, database_urls: DatabaseUrls, two: Two
) -> None:
    partitions = await rows(
        database_urls, "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'payments'::regclass"
    )
    assert len(partitions) >= 5
    for partition in partitions:
        for kind in (database.as_customer, database.as_staff):
            with pytest.raises(DBAPIError, match="permission denied"):
                async with kind(two.ada) as tx:
                    await tx.session.execute(text(f"SELECT * FROM {partition['name']}"))
        with pytest.raises(DBAPIError, match="permission denied"):
            async with database.as_system() as tx:
                await tx.session.execute(text(f"SELECT * FROM {partition['name']}"))


@pytest.mark.parametrize("command", ["UPDATE audit_log SET action = 'x'", "DELETE FROM audit_log"])
async def test_nobody_rewrites_the_audit_trail(database: Database, database_urls: DatabaseUrls, command: str) -> None:
    async with database.as_system() as tx:
        await tx.audit("test.done", "test", "1")
    with pytest.raises(DBAPIError, match="permission denied"):
        async with database.as_system() as tx:
            await tx.session.execute(text(command))
    with pytest.raises(DBAPIError, match="never changed or removed"):
        await change(database_urls, command)


async def test_the_logins_are_no_more_than_their_kinds(database_urls: DatabaseUrls) -> None:
    roles = await rows(
        database_urls,
        "SELECT rolname, rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb AS mighty FROM pg_roles"
        " WHERE rolname IN ('np_api', 'np_worker', 'np_customer', 'np_staff', 'np_system')",
    )
    assert len(roles) == 5
    assert not any(role["mighty"] for role in roles)
    owners = await rows(database_urls, "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'")
    assert owners == [{"tableowner": "np_owner"}], "an owner is not held by row security"
