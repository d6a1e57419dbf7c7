"""The search of staff: whatever somebody has at hand leads to the customer."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import insert, text, update

from billing_api.access.permissions import PERMISSIONS, Permission
from billing_api.operations.search import repository
from billing_api.operations.search.rules import Asked, recognize
from core.ids import new_id
from db.models.all_tables import METADATA
from db.models.identity import Role, User
from db.models.licensing import LicenseType
from db.unit_of_work import Database
from tests.billing_api.conftest import Client
from tests.support.databases import change, plan_of
from tests.support.people import Desk, Headers
from tests.support.rows import STARTER_PLAN, a_row
from tests.support.servers import DatabaseUrls

PATH = "/api/v1/admin/search"


@pytest.fixture
async def support(desk: Desk) -> Headers:
    return await desk.staff(Role.SUPPORT)


async def search(client: Client, headers: Headers, q: str) -> dict[str, list[dict[str, Any]]]:
    """What was found, by kind."""
    answer = await client.get(PATH, params={"q": q}, headers=headers)
    assert answer.status_code == 200, answer.text
    return {group["kind"]: group["items"] for group in answer.json()["groups"]}


async def found_users(client: Client, headers: Headers, q: str) -> list[str]:
    return [item["id"] for item in (await search(client, headers, q)).get("user", [])]


async def with_purchase(desk: Desk, database: Database, user_id: UUID) -> dict[str, Any]:
    """A license with its subscription, invoice and payment."""
    issued = await desk.a_license(user_id, LicenseType.STARTER)
    made: dict[str, Any] = {"plans": {"id": STARTER_PLAN}, "licenses": {"id": issued.license.id}}
    given: dict[str, dict[str, Any]] = {
        "subscriptions": {"stripe_subscription_id": "sub_1AbCdEfGhIj"},
        "invoices": {"stripe_invoice_id": "in_1AbCdEfGhIj", "number": "8F2B91D0-0001", "amount_due": 2900},
        "payments": {"stripe_payment_intent_id": "pi_1AbCdEfGhIj", "amount": 2900},
    }
    async with database.as_system() as tx:
        await tx.session.execute(update(User).where(User.id == user_id).values(stripe_customer_id="cus_1AbCdEfGhIj"))
        for name, facts in given.items():
            table = METADATA.tables[name]
            row = a_row(table, user_id, made) | {"currency": "usd"} | facts
            row = {column: value for column, value in row.items() if column in table.c}
            made[name] = dict((await tx.session.execute(insert(table).values(row).returning(table))).mappings().one())
        registered = {
            "stripe_payment_intent_id": "pi_1AbCdEfGhIj",
            "payment_id": made["payments"]["id"],
            "payment_created_at": made["payments"]["created_at"],
        }
        await tx.session.execute(insert(METADATA.tables["payment_intents"]).values(registered))
    return made | {"key": issued.key}


async def test_a_person_is_found_by_parts_of_name_company_and_address(
    client: Client, desk: Desk, support: Headers
) -> None:
    named: dict[str, Any] = {
        "email": "Countess.Ada@Lovelace.example",
        "full_name": "Ada Byron",
        "company_name": "Engines & Sons",
    }
    ada = str(await desk.a_user(**named))
    await desk.a_user(full_name="Charles Babbage")
    for q in ("byr", "ADA BY", "engines & s", "countess.ada", "LOVELACE.EX", "countess.ada@lovelace.example", "ess.a"):
        assert await found_users(client, support, q) == [ada], q
    [shown] = (await search(client, support, "byron"))["user"]
    assert shown == {
        "kind": "user",
        "id": ada,
        "title": "Countess.Ada@Lovelace.example",
        "subtitle": "Ada Byron · Engines & Sons · active",
        "link": f"/api/v1/admin/users/{ada}",
    }
    assert await search(client, support, "nobody at all") == {}


async def test_every_character_stands_for_itself(client: Client, desk: Desk, support: Headers) -> None:
    odd = str(await desk.a_user(full_name=r"Bob 100%_off\now"))
    await desk.a_user(full_name="Bob 100 and off now")
    for q in ("100%", "100%_off", r"off\now"):
        assert await found_users(client, support, q) == [odd], q
    for q in ("bob%now", "bob_100", "bob\\", "%bob"):
        assert await found_users(client, support, q) == [], q


async def test_letters_are_compared_however_they_are_composed(client: Client, desk: Desk, support: Headers) -> None:
    jose = str(await desk.a_user(email="José@münchen.example", full_name="JOSÉ Иванов"))
    for q in ("josé", "JOSE\u0301", "иванов", "münchen", "JOSÉ@XN--MNCHEN-3YA.example"):
        assert await found_users(client, support, q) == [jose], q


async def test_the_owner_of_the_address_comes_first_then_addresses_that_begin_so(
    client: Client, desk: Desk, support: Headers
) -> None:
    exact = str(await desk.a_user(email="ann@example.com"))
    begins = str(await desk.a_user(email="ann@example.com.au"))
    newer = str(await desk.a_user(email="joann@example.com"))
    assert await found_users(client, support, "ann@example.com") == [exact, begins, newer]


async def test_many_are_bounded_and_said_to_be_more(
    client: Client, desk: Desk, support: Headers, database_urls: DatabaseUrls
) -> None:
    ada = str(await desk.a_user(full_name="Ada Quetzal"))
    await many_users(database_urls, 2500, "Common Name")
    answer = (await client.get(PATH, params={"q": "common name"}, headers=support)).json()
    [group] = answer["groups"]
    assert (len(group["items"]), group["more"]) == (10, True)
    assert await found_users(client, support, "quetzal") == [ada], "older than all that are looked at one by one"


async def many_users(urls: DatabaseUrls, number: int, full_name: str) -> None:
    await change(
        urls,
        "INSERT INTO users (id, email, email_key, password_hash, full_name, role, is_active, created_at)"
        " SELECT gen_random_uuid(), n || '@many.example', n || '@many.example', '', :name || n, 'customer', true,"
        " now() + make_interval(secs => n) FROM generate_series(1, :number) AS n",
        name=full_name,
        number=number,
    )


async def test_ids_of_stripe_lead_to_what_they_name(
    client: Client, desk: Desk, support: Headers, database: Database
) -> None:
    user_id = await desk.a_user(email="ada@example.com")
    made = await with_purchase(desk, database, user_id)
    expected = {
        "cus_1AbCdEfGhIj": ("user", user_id),
        "sub_1AbCdEfGhIj": ("subscription", made["subscriptions"]["id"]),
        "in_1AbCdEfGhIj": ("invoice", made["invoices"]["id"]),
        "pi_1AbCdEfGhIj": ("payment", made["payments"]["id"]),
        "8f2b91d0-0001": ("invoice", made["invoices"]["id"]),
        "8F2B9": ("invoice", made["invoices"]["id"]),
        str(user_id): ("user", user_id),
        str(made["licenses"]["id"]): ("license", made["licenses"]["id"]),
        str(made["subscriptions"]["id"]): ("subscription", made["subscriptions"]["id"]),
        str(made["invoices"]["id"]): ("invoice", made["invoices"]["id"]),
        str(made["payments"]["id"]): ("payment", made["payments"]["id"]),
    }
    admin = await desk.staff()
    for q, (kind, object_id) in expected.items():
        found = await search(client, support, q)
        assert {name: [item["id"] for item in items] for name, items in found.items()} == {kind: [str(object_id)]}, q
        [item] = found[kind]
        assert (await client.get(item["link"], headers=admin)).status_code == 200
        assert "ada@example.com" in item["title"] + item["subtitle"]
    for q in ("sub_1abcdefghij", "in_1AbCdEfGhI", "8F2B91D0-0001-2", str(new_id())):
        assert await search(client, support, q) == {}, q


async def test_a_customer_whom_stripe_has_lost_is_found_by_the_old_id(
    client: Client, desk: Desk, support: Headers
) -> None:
    ada = str(await desk.a_user(former_stripe_customer_ids=["cus_Former0001"], stripe_customer_id="cus_Present001"))
    assert await found_users(client, support, "cus_Former0001") == [ada]


async def test_a_license_is_found_by_the_end_of_its_key(client: Client, desk: Desk, support: Headers) -> None:
    issued = await desk.a_license(await desk.a_user(email="ada@example.com"))
    hint = issued.key[-4:]
    for q in (hint, hint.lower(), f"…{hint}", f"-{hint}", f"  {hint} "):
        [shown] = (await search(client, support, q))["license"]
        assert shown["id"] == str(issued.license.id)
        assert (shown["title"], shown["subtitle"]) == (f"Professional …{hint}", "ada@example.com · active")


async def test_a_whole_key_is_refused_because_addresses_are_logged(
    client: Client, desk: Desk, support: Headers
) -> None:
    issued = await desk.a_license(await desk.a_user())
    for q in (issued.key, issued.key.lower().replace("-", " ")):
        answer = await client.get(PATH, params={"q": q}, headers=support)
        assert answer.status_code == 400
        assert "POST it to /api/v1/admin/licenses/find-by-key" in answer.json()["detail"]
        assert issued.key[3:7] not in answer.text


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("q=ab", "too short"),
        ("q=", "at least 1"),
        ("", "is missing"),
        ("q=a%00b", "invalid_input"),
        ("q=" + "a" * 201, "at most 200"),
    ],
)
async def test_what_cannot_be_searched_is_refused(client: Client, support: Headers, query: str, told: str) -> None:
    answer = await client.get(f"{PATH}?{query}", headers=support)
    assert answer.status_code == 400
    assert told in answer.text


async def test_kinds_that_the_caller_may_not_see_are_left_out(
    client: Client, desk: Desk, support: Headers, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    user_id = await desk.a_user()
    made = await with_purchase(desk, database, user_id)
    monkeypatch.setitem(PERMISSIONS, Role.SUPPORT, PERMISSIONS[Role.SUPPORT] - {Permission.LICENSES_VIEW})
    assert await search(client, support, made["key"][-4:]) == {}
    assert await found_users(client, support, str(user_id)) == [str(user_id)]
    monkeypatch.setitem(PERMISSIONS, Role.SUPPORT, PERMISSIONS[Role.SUPPORT] - {Permission.USERS_VIEW})
    assert (await client.get(PATH, params={"q": "byron"}, headers=support)).status_code == 403


EACH_HAS_BOUGHT = (
    """INSERT INTO licenses (id, user_id, plan_id, license_key, license_key_hash, key_hint, license_type, status,
        features, fingerprint_policy, provisioning, activation_date, auto_renew, version)
    SELECT users.id, users.id, plan_id, '', sha256(uuid_send(users.id)), upper(left(md5(users.id::text), 4)),
        license_type, status, features, fingerprint_policy, provisioning, activation_date, false, 1
    FROM users, (SELECT * FROM licenses LIMIT 1) AS first WHERE users.email LIKE '%@many.example'""",
    """INSERT INTO subscriptions (id, user_id, license_id, stripe_subscription_id, plan_id, interval, status,
        current_period_start, current_period_end, cancel_at_period_end, plan_paid_until)
    SELECT licenses.id, user_id, licenses.id, 'sub_' || licenses.id, plan_id, 'month', 'active', now(), now(), false,
        now() FROM licenses WHERE license_key = ''""",
    """INSERT INTO invoices (id, user_id, stripe_invoice_id, number, amount_due, amount_paid, currency, status)
    SELECT id, id, 'in_' || id, left(id::text, 8) || '-0001', 1, 1, 'usd', 'paid' FROM users""",
)
SHAPES = ("quetzal", "ada@example.com", "7Q4K", "8F2B91D0-0001", "cus_1AbCdEfGhIj", "sub_1AbCdEfGhIj", "in_1AbCdEfGhIj",
          "pi_1AbCdEfGhIj", "0198d2f0-0000-7000-8000-00000000000a")  # fmt: skip


async def test_nothing_is_read_from_end_to_end(desk: Desk, database: Database, database_urls: DatabaseUrls) -> None:
    await with_purchase(desk, database, await desk.a_user())
    await many_users(database_urls, 5000, "Name ")
    for filling in EACH_HAS_BOUGHT:
        await change(database_urls, filling)
    await change(database_urls, "ANALYZE users, licenses, invoices, payments, subscriptions, payment_intents")
    used = set()
    async with database.as_staff(await desk.a_user(Role.SUPPORT), by_index=True) as tx:
        for q in SHAPES:
            for statement in statements(recognize(q)):
                plan = await plan_of(tx.session, statement)
                assert "Seq Scan" not in plan, (q, plan)
                used |= {word for word in plan.split() if word.startswith(("ix_", "uq_", "pk_"))}
    assert {
        "ix_users_person_text",
        "ix_users_created_at",
        "uq_users_email_key",
        "ix_users_former_stripe_customer_ids",
        "ix_licenses_key_hint",
        "ix_invoices_number",
        "uq_invoices_stripe_invoice_id",
        "uq_subscriptions_stripe_subscription_id",
        "pk_payment_intents",
    } <= used


async def test_a_part_that_has_no_trigrams_here_reads_nobody(desk: Desk, database: Database) -> None:
    async with database.as_staff(await desk.a_user(Role.SUPPORT), by_index=True) as tx:
        assert (
            await tx.session.scalar(text("SELECT datctype FROM pg_database WHERE datname = current_database()")) == "C"
        )
        plan = await plan_of(tx.session, repository.users_by_part("иванов"))
    assert "One-Time Filter: false" in plan, plan


def statements(asked: Asked) -> list[repository.Found]:
    by_text = (
        []
        if asked.part is None
        else [repository.newest_users_by_part(asked.part), repository.users_by_part(asked.part)]
    )
    by_address = [] if asked.address is None else [repository.user_by_address(asked.address)]
    others = (
        repository.users_by_id,
        repository.licenses,
        repository.subscriptions,
        repository.invoices,
        repository.payments,
    )
    given = [statement for ask in others if (statement := ask(asked)) is not None]
    return [*by_text, *by_address, *given]
