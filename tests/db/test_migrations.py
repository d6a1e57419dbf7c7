"""Migrations: one line of them, applied and undone; at the end the schema is what the models say."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

import db.migrate
from core.clock import utc_now
from core.ids import new_id
from core.mailbox import mailbox_key
from core.settings import api_settings
from db.migrate import downgrade, upgrade
from db.models.all_tables import METADATA
from devstack.postgres import Postgres
from tests.support.databases import as_owner, change, opened, rows
from tests.support.environment import environment
from tests.support.people import Desk
from tests.support.servers import ROOT, DatabaseUrls, migrate
from tests.support.servers import database as copied

pytestmark = pytest.mark.calendar

LEFT = """
    SELECT relname AS name FROM pg_class WHERE relnamespace = 'public'::regnamespace
    UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    UNION ALL SELECT typname FROM pg_type WHERE typnamespace = 'public'::regnamespace
"""
"""Whatever a migration makes lies in this schema: tables, indexes, sequences, functions, types."""


@pytest.fixture(scope="module")
def script() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(ROOT / "db" / "migrations"))
    return ScriptDirectory.from_config(config)


def test_there_is_one_head_and_one_root(script: ScriptDirectory) -> None:
    assert len(script.get_heads()) == 1
    assert len(script.get_bases()) == 1


async def test_up_down_and_up_again(empty_database_urls: DatabaseUrls, script: ScriptDirectory) -> None:
    urls = empty_database_urls
    for _ in range(2):
        await asyncio.to_thread(migrate, urls)
        assert await rows(urls, "SELECT version_num FROM alembic_version") == [{"version_num": script.get_heads()[0]}]
        await downgrade(urls.owner, "base")
        assert {row["name"] for row in await rows(urls, LEFT)} == {
            "alembic_version",
            "alembic_version_pkc",
            "_alembic_version",
        }


async def test_databases_of_one_server_are_migrated_at_once(postgres: Postgres) -> None:
    """Each makes the roles and gives them their passwords; they belong to the server."""
    with ExitStack() as made:
        databases = [made.enter_context(copied(postgres)) for _ in range(4)]
        for _ in range(3):
            await asyncio.gather(*(upgrade(urls.owner, api_url=urls.api, worker_url=urls.worker) for urls in databases))


@pytest.fixture
def own_database_urls(postgres: Postgres, migrated_template: str) -> Iterator[DatabaseUrls]:
    """With the newest schema, for a test that goes back from it. The roles, which are the server's, are there."""
    with copied(postgres, migrated_template) as urls:
        yield urls


async def test_totals_that_wait_to_be_projected_are_named_on_both_sides_of_0017(
    own_database_urls: DatabaseUrls,
) -> None:
    """What waits in the outbox while the schema changes is neither lost nor left in words that no worker reads."""
    urls = own_database_urls
    waiting = "SELECT job FROM outbox WHERE job ->> 'type' = 'project_usage'"
    async with opened(urls) as database:
        desk = Desk(api_settings(environment(urls, redis_url="redis://127.0.0.1:1")), database, utc_now)
        issued = await desk.a_license(await desk.a_user())
        await change(
            urls,
            "INSERT INTO license_usage (license_id, resource, user_id, used, version)"
            " VALUES (:id, 'databases', :user, 3, 1), (:id, 'domains', :user, 1, 1)",
            id=issued.license.id,
            user=issued.license.user_id,
        )
        totals = [[str(issued.license.id), resource] for resource in ("databases", "domains")]
        assert [sorted(row["job"]["totals"]) for row in await rows(urls, waiting)] == [totals]
        await downgrade(urls.owner, "0016")
        old = {"type": "project_usage", "license_id": str(issued.license.id)}
        assert [row["job"] for row in await rows(urls, waiting)] == [old]
        await change(urls, "UPDATE license_usage SET used = used + 1")
        assert [row["job"] for row in await rows(urls, waiting)] == [old, old]
        await db.migrate._with_lock(urls.owner, lambda it: command.upgrade(db.migrate._config(it), "head"))
        assert [sorted(row["job"]["totals"]) for row in await rows(urls, waiting)] == [totals, totals]


async def test_events_keep_what_they_say_on_both_sides_of_0018(own_database_urls: DatabaseUrls) -> None:
    """Before it they had an id besides; who goes back gets new ones."""
    urls = own_database_urls
    license_id = new_id()
    await change(
        urls,
        "INSERT INTO usage_events (license_id, user_id, resource, action, count, idempotency_key, body_hash,"
        " used_after, seq, is_overage, occurred_at)"
        " SELECT :id, :id, 'databases', 'created', 1, n::text, '', n, n, false, now() FROM generate_series(1, 3) AS n",
        id=license_id,
    )
    before = await rows(urls, "SELECT * FROM usage_events ORDER BY seq")
    await downgrade(urls.owner, "0017")
    assert await rows(urls, "SELECT count(DISTINCT id) AS ids FROM usage_events") == [{"ids": 3}]
    await db.migrate._with_lock(urls.owner, lambda it: command.upgrade(db.migrate._config(it), "head"))
    assert await rows(urls, "SELECT * FROM usage_events ORDER BY seq") == before


async def test_totals_below_zero_are_flagged_and_corrections_outlive_both_sides_of_0019(
    own_database_urls: DatabaseUrls,
) -> None:
    """Before it a correction is told as the full count 0, which is what it does to a total."""
    urls = own_database_urls
    async with opened(urls) as database:
        desk = Desk(api_settings(environment(urls, redis_url="redis://127.0.0.1:1")), database, utc_now)
        issued = await desk.a_license(await desk.a_user())
        await change(
            urls,
            "INSERT INTO license_usage (license_id, resource, user_id, used, version)"
            " VALUES (:id, 'emails', :user, -3, 1)",
            id=issued.license.id,
            user=issued.license.user_id,
        )
        await change(
            urls,
            "INSERT INTO usage_events (license_id, user_id, resource, action, count, idempotency_key, body_hash,"
            " used_after, seq, is_overage, occurred_at) SELECT :id, :id, 'databases', CAST(action AS usage_action), 4,"
            " action, '', after, seq, false, now()"
            " FROM (VALUES ('deleted', -4, 1), ('corrected', 0, 2)) AS event (action, after, seq)",
            id=issued.license.id,
        )
        await downgrade(urls.owner, "0018")
        events = await rows(urls, "SELECT action::text, count, used_after FROM usage_events ORDER BY seq")
        assert [tuple(event.values()) for event in events] == [("deleted", 4, -4), ("set", 0, 0)]
        await db.migrate._with_lock(urls.owner, lambda it: command.upgrade(db.migrate._config(it), "head"))
        [total] = await rows(urls, "SELECT below_since IS NOT NULL AS flagged FROM license_usage")
        assert total["flagged"]


def is_no_partition(name: str | None, kind: str, _parents: Any) -> bool:
    """Partitions of payments come with the months, made by the database; the models know the whole."""
    return kind != "table" or name is None or not name.startswith("payments_")


async def test_the_migrated_database_is_what_the_models_say(database_urls: DatabaseUrls) -> None:
    def differences(connection: Connection) -> list[Any]:
        options: dict[str, Any] = {"compare_type": True, "compare_server_default": True}
        options["include_name"] = is_no_partition
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), METADATA))

    async with as_owner(database_urls) as owner:
        assert await owner.run_sync(differences) == []


async def test_payments_have_this_month_three_more_and_a_last_resort(database_urls: DatabaseUrls) -> None:
    found = await rows(
        database_urls,
        """
        SELECT inhrelid::regclass::text AS name, pg_get_expr(relpartbound, oid) AS bound
        FROM pg_inherits JOIN pg_class ON oid = inhrelid WHERE inhparent = 'payments'::regclass
        """,
    )
    bounds = {row["name"]: row["bound"] for row in found}
    assert bounds.pop("payments_default") == "DEFAULT"
    assert len(bounds) == 4
    for name, bound in bounds.items():
        _, year, month = name.split("_")
        assert f"FROM ('{year}-{month}-01 00:00:00+00')" in bound
    [this_month] = await rows(database_urls, "SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM') AS name")
    assert f"payments_{this_month['name']}" in bounds


async def test_three_plans_are_on_offer(database_urls: DatabaseUrls) -> None:
    found = await rows(
        database_urls,
        "SELECT name, license_type::text, is_active, max_domains FROM plans ORDER BY price_monthly",
    )
    assert [tuple(row.values()) for row in found] == [
        ("Starter", "starter", True, 3),
        ("Professional", "professional", True, 25),
        ("Enterprise", "enterprise", True, None),
    ]


SPELLED = {
    "first": "José@München.example",
    "twin": "jose\u0301@xn--mnchen-3ya.example",
    "unproved": "JOSE\u0301@M\u00dcNCHEN.example",
    "plain": "Ada@Example.com",
    "punycode": "ada@xn--mnchen-3ya.example",
}


async def test_accounts_from_before_0022_get_the_names_of_their_mailboxes(own_database_urls: DatabaseUrls) -> None:
    """Of three that turn out to be one mailbox's the first that was proved keeps the name, and none is lost."""
    urls = own_database_urls
    await downgrade(urls.owner, "0021")
    add = (
        "INSERT INTO users (id, email, password_hash, full_name, role, is_active, email_verified_at, created_at)"
        " VALUES (:id, :email, 'x', :name, 'customer', true, cast(:proved AS timestamptz), cast(:made AS timestamptz))"
    )
    now = utc_now()
    for place, (name, email) in enumerate(SPELLED.items()):
        made = now + timedelta(minutes=place)
        if name == "unproved":
            made = now - timedelta(days=1)
        proved = None if name == "unproved" else made
        await change(urls, add, id=new_id(), email=email, name=name, proved=proved, made=made)
    await change(
        urls,
        "INSERT INTO mails (id, key, user_id, recipient, template, parameters)"
        " SELECT gen_random_uuid(), full_name, id, email, 'verify_email', '{}' FROM users",
    )
    await asyncio.to_thread(migrate, urls)
    found = {row["full_name"]: row for row in await rows(urls, "SELECT id, full_name, email, email_key FROM users")}
    assert {name: row["email"] for name, row in found.items()} == SPELLED, "addresses stay as they were typed"
    assert {name: row["email_key"] for name, row in found.items()} == {
        "first": "josé@münchen.example",
        "twin": f"twin {found['twin']['id']}",
        "unproved": f"twin {found['unproved']['id']}",
        "plain": "ada@example.com",
        "punycode": "ada@münchen.example",
    }
    mailed = await rows(urls, "SELECT key, recipient_key FROM mails")
    assert {row["key"]: row["recipient_key"] for row in mailed} == {
        name: mailbox_key(email) for name, email in SPELLED.items()
    }


async def test_a_row_that_is_written_without_its_mailboxes_name_gets_one(own_database_urls: DatabaseUrls) -> None:
    urls = own_database_urls
    add = "INSERT INTO users (id, email, password_hash, full_name, role, is_active) VALUES"
    await change(urls, f"{add} (:id, 'Ada@Example.com', 'x', 'Ada', 'customer', true)", id=new_id())
    assert await rows(urls, "SELECT email_key FROM users") == [{"email_key": "ada@example.com"}]
    await change(urls, "UPDATE users SET email = 'Eve@Example.com'")
    assert await rows(urls, "SELECT email_key FROM users") == [{"email_key": "eve@example.com"}]


async def test_licenses_suspended_before_0032_get_the_cause_that_is_known(own_database_urls: DatabaseUrls) -> None:
    """A payment must not lift what staff suspended; what nobody of them did is unpaid."""
    urls = own_database_urls
    async with opened(urls) as database:
        desk = Desk(api_settings(environment(urls, redis_url="redis://127.0.0.1:1")), database, utc_now)
        of = {name: (await desk.a_license(await desk.a_user())).license.id for name in ("staff", "trail", "unpaid")}
        ends = "UPDATE licenses SET status = 'suspended', updated_at = '2026-05-01T00:00Z'"
        await change(urls, ends)
        await change(urls, "UPDATE licenses SET status_reason = 'fraud?' WHERE id = :id", id=of["staff"])
        await change(
            urls,
            "INSERT INTO audit_log (at, action, target_kind, target_id, detail)"
            " VALUES ('2026-04-01T00:00Z', 'license.suspended_by_admin', 'license', :id, '{}')",
            id=str(of["trail"]),
        )
        await downgrade(urls.owner, "0031")
        await db.migrate._with_lock(urls.owner, lambda it: command.upgrade(db.migrate._config(it), "head"))
        found = await rows(
            urls, "SELECT license_id, cause, since, reason FROM license_suspensions WHERE ended_at IS NULL"
        )
        assert {row["license_id"]: (row["cause"], f"{row['since']:%m-%d}", row["reason"]) for row in found} == {
            of["staff"]: ("staff", "05-01", "fraud?"),
            of["trail"]: ("staff", "04-01", None),
            of["unpaid"]: ("unpaid", "05-01", None),
        }


async def test_payments_from_before_0035_name_their_invoice_after_0037(own_database_urls: DatabaseUrls) -> None:
    urls = own_database_urls
    async with opened(urls) as database:
        desk = Desk(api_settings(environment(urls, redis_url="redis://127.0.0.1:1")), database, utc_now)
        mine, other = await desk.a_user(), await desk.a_user()
        invoice = (
            "INSERT INTO invoices (id, user_id, stripe_invoice_id, number, amount_due, amount_paid, currency, status,"
            " created_at) VALUES (gen_random_uuid(), :user, :stripe, :number, 1, 1, 'usd', 'paid', now())"
        )
        await change(urls, invoice, user=mine, stripe="in_1", number="NP-1")
        await change(urls, invoice, user=other, stripe="in_2", number="NP-1")
        await change(urls, invoice, user=mine, stripe="in_3", number=None)
        for intent, text in (("pi_1", "Invoice NP-1"), ("pi_3", "Invoice in_3"), ("pi_4", "something else")):
            await change(
                urls,
                "INSERT INTO payments (id, created_at, user_id, stripe_payment_intent_id, amount, currency, status,"
                " description) VALUES (gen_random_uuid(), now(), :user, :intent, 1, 'usd', 'succeeded', :text)",
                user=mine,
                intent=intent,
                text=text,
            )
        await downgrade(urls.owner, "0036")
        await db.migrate._with_lock(urls.owner, lambda it: command.upgrade(db.migrate._config(it), "head"))
        found = await rows(
            urls,
            "SELECT stripe_payment_intent_id AS intent, stripe_invoice_id AS invoice FROM payments"
            " LEFT JOIN invoices ON invoices.id = payments.invoice_id ORDER BY 1",
        )
    assert [tuple(row.values()) for row in found] == [("pi_1", "in_1"), ("pi_3", "in_3"), ("pi_4", None)]
