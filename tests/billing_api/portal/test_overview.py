"""Overview: what a customer owns and has to look at, in one statement, and nobody else's."""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import insert, text

from billing_api.access.permissions import Principal
from billing_api.portal.overview.repository import ATTENTION, OVERVIEW
from billing_api.portal.overview.schemas import NextRenewal
from billing_api.portal.overview.views import NextPeriod, PlanPrices
from billing_api.server.wiring.services import Services
from core.ids import new_id
from core.money import Money
from db.models.all_tables import METADATA
from db.models.commerce import InvoiceStatus, SubscriptionStatus
from db.models.identity import Role
from db.models.licensing import Interval, LicenseType
from tests.billing_api.conftest import Buying, Client, FakeTime
from tests.support.databases import as_owner, change
from tests.support.people import Desk, Headers
from tests.support.rows import STARTER_PLAN, a_link, a_row
from tests.support.servers import DatabaseUrls

PATH = "/api/v1/overview"
NO_COUNTS = {"licenses": 0, "active_licenses": 0, "subscriptions": 0, "open_invoices": 0, "invoices": 0}
EMPTY = {
    "counts": NO_COUNTS,
    "attention": [],
    "attention_total": 0,
    "licenses": [],
    "next_renewal": None,
    "recent_invoices": [],
}


async def added(urls: DatabaseUrls, table: str, user_id: UUID, license_id: UUID | None = None, **columns: Any) -> Any:
    made: dict[str, dict[str, Any]] = {"plans": {"id": STARTER_PLAN}, "licenses": {"id": license_id}}
    row = a_row(METADATA.tables[table], user_id, made) | columns
    async with as_owner(urls) as owner:
        await owner.execute(insert(METADATA.tables[table]).values(row))
        if table == "subscriptions":
            await owner.execute(insert(METADATA.tables["license_subscriptions"]).values(a_link(row)))
    return row.get("id")


async def seen(client: Client, headers: Headers) -> dict[str, Any]:
    answer = await client.get(PATH, headers=headers)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store"), answer.text
    shown: dict[str, Any] = answer.json()
    return shown


async def test_who_owns_nothing_sees_nothing_staff_included(
    client: Client, desk: Desk, database_urls: DatabaseUrls, clock: FakeTime
) -> None:
    bob = await desk.a_user()
    issued = await desk.a_license(bob)
    await added(database_urls, "subscriptions", bob, issued.license.id, status=SubscriptionStatus.PAST_DUE)
    await added(database_urls, "invoices", bob)
    for headers in (await desk.a_customer(), await desk.staff(Role.SUPPORT), await desk.staff()):
        shown = await seen(client, headers)
        assert datetime.fromisoformat(shown.pop("as_of")) == clock.now
        assert shown == EMPTY


async def test_a_license_is_shown_with_its_usage(client: Client, desk: Desk, database_urls: DatabaseUrls) -> None:
    owner = await desk.a_user()
    license_ = (await desk.a_license(owner, LicenseType.STARTER)).license
    me = desk.signed_in(owner)
    await client.patch(f"/api/v1/licenses/{license_.id}", json={"label": "Shop"}, headers=me)
    for resource, used in (("databases", 7), ("domains", -2)):
        await added(database_urls, "license_usage", owner, license_.id, resource=resource, used=used)
    paying = await added(database_urls, "subscriptions", owner, license_.id, status=SubscriptionStatus.ACTIVE)
    shown = await seen(client, me)
    (card,) = shown["licenses"]
    whole = (await client.get(f"/api/v1/licenses/{license_.id}", headers=me)).json()
    assert {name: card[name] for name in whole.keys() & card.keys()} == {
        name: whole[name] for name in whole.keys() & card.keys()
    }
    assert (card["label"], card["subscription_id"], card["key_hint"]) == ("Shop", str(paying), f"…{license_.key_hint}")
    assert card["usage"] == {
        "accounts": {"used": 0, "limit": 1, "over": 0},
        "domains": {"used": 0, "limit": 3, "over": 0},
        "databases": {"used": 7, "limit": 5, "over": 2},
        "emails": {"used": 0, "limit": 10, "over": 0},
        "storage_gb": {"used": 0, "limit": 10, "over": 0},
    }
    assert shown["counts"] == NO_COUNTS | {"licenses": 1, "active_licenses": 1, "subscriptions": 1}


LABELS = ("late", "confirms", "suspended", "over", "ends", "expired", "expires", "fine", "long gone", "cancelled")


async def with_labels(desk: Desk, urls: DatabaseUrls, owner: UUID, *labels: str) -> dict[str, UUID]:
    """A license for each label."""
    ids = {label: (await desk.a_license(owner, LicenseType.STARTER)).license.id for label in labels}
    for label, license_id in ids.items():
        await change(urls, "UPDATE licenses SET label = :label WHERE id = :id", label=label, id=license_id)
    return ids


async def in_every_state(
    urls: DatabaseUrls, owner: UUID, ids: Mapping[str, UUID], clock: FakeTime
) -> tuple[str, str, str]:
    """Puts each license into the state that its label says. Returns the subscriptions of late, confirms and ends."""
    day = timedelta(days=1)

    async def put(name: str, columns: str, **values: Any) -> None:
        await change(urls, f"UPDATE licenses SET {columns} WHERE label = :name", name=name, **values)

    async def subscribed(name: str, **columns: Any) -> str:
        told = {"status": SubscriptionStatus.ACTIVE, "current_period_end": clock.now + 9 * day} | columns
        told = {"cancel_at_period_end": False} | told
        return str(await added(urls, "subscriptions", owner, ids[name], **told))

    late = await subscribed("late", status=SubscriptionStatus.PAST_DUE)
    await put("late", "grace_until = :at", at=clock.now + 3 * day)
    confirms = await subscribed("confirms", pending_payment_url="https://pay.test/1")
    await put("suspended", "status = 'suspended', status_message = 'please call', status_reason = 'fraud?'")
    await added(urls, "license_usage", owner, ids["over"], resource="emails", used=13)
    ends = await subscribed("ends", cancel_at_period_end=True)
    await put("ends", "expiry_date = :at, auto_renew = false", at=clock.now + 9 * day)
    await put("expired", "expiry_date = :at", at=clock.now - day)
    await put("expires", "expiry_date = :at, auto_renew = false", at=clock.now + 2 * day)
    await subscribed("fine")
    await put("fine", "expiry_date = :at", at=clock.now + 9 * day)
    await put("long gone", "status = 'expired', expiry_date = :at", at=clock.now - 31 * day)
    await put("cancelled", "status = 'cancelled', max_emails = 0")
    await added(urls, "license_usage", owner, ids["cancelled"], resource="emails", used=13)
    return late, confirms, ends


async def test_what_needs_attention_is_told_by_urgency(
    client: Client, desk: Desk, database_urls: DatabaseUrls, clock: FakeTime
) -> None:
    owner = await desk.a_user(email_verified_at=None)
    ids, day = await with_labels(desk, database_urls, owner, *LABELS), timedelta(days=1)
    late, confirms, ends = await in_every_state(database_urls, owner, ids, clock)
    shown = await seen(client, desk.signed_in(owner))
    told = [{name: value for name, value in one.items() if value is not None} for one in shown["attention"]]
    at = {days: (clock.now + days * day).isoformat().replace("+00:00", "Z") for days in (-1, 2, 3, 9)}
    whose = {name: {"license_id": str(license_id), "label": name} for name, license_id in ids.items()}
    assert told == [
        {"kind": "address_unverified"},
        {"kind": "payment_past_due", **whose["late"], "subscription_id": late, "at": at[3]},
        {
            "kind": "payment_confirmation",
            **whose["confirms"],
            "subscription_id": confirms,
            "payment_url": "https://pay.test/1",
        },
        {"kind": "license_suspended", **whose["suspended"], "message": "please call"},
        {"kind": "over_limit", **whose["over"], "resource": "emails", "over": 3},
        {"kind": "subscription_ending", **whose["ends"], "subscription_id": ends, "at": at[9]},
        {"kind": "license_expired", **whose["expired"], "at": at[-1]},
        {"kind": "license_expiring", **whose["expires"], "at": at[2]},
    ]
    assert shown["attention_total"] == 8
    assert "fraud" not in str(shown)


@pytest.mark.timeout(120)
async def test_thousands_of_licenses_cost_no_second_statement_and_no_longer_answer(
    client: Client, services: Services, desk: Desk, database_urls: DatabaseUrls, clock: FakeTime
) -> None:
    owner = await desk.a_user()
    await desk.a_license(owner, LicenseType.STARTER)
    overviews = services.portal.overviews
    principal = Principal(owner, Role.CUSTOMER, owner, clock.now)
    statements: list[str] = []
    async with overviews._reads.session() as driver:  # reads one after another all get this connection
        driver.add_query_logger(lambda ran: statements.append(ran.query))  # type: ignore[attr-defined]  # asyncpg's own
    await change(
        database_urls,
        "INSERT INTO licenses (id, user_id, plan_id, license_key, license_key_hash, license_type, status, features,"
        " fingerprint_policy, provisioning, activation_date, auto_renew, max_emails, version, status_message)"
        " SELECT gen_random_uuid(), user_id, plan_id, '', int4send(n), license_type, 'suspended', '{}',"
        " fingerprint_policy, provisioning, activation_date, true, 1, 1, 'late' FROM licenses,"
        " generate_series(1, 3000) AS n",
    )
    await change(
        database_urls,
        "INSERT INTO license_usage (license_id, user_id, resource, used, events, version)"
        " SELECT id, user_id, 'emails', 2, 1, 1 FROM licenses",
    )
    shown = await overviews.read(principal)
    await asyncio.sleep(0)  # asyncpg tells its loggers in the next turn of the loop
    assert statements == [OVERVIEW.text]
    assert (shown.counts.licenses, shown.counts.active_licenses) == (3001, 1)
    assert (len(shown.licenses), len(shown.attention), shown.attention_total) == (20, 20, 6000)
    whole = await client.get(PATH, headers=desk.signed_in(owner))
    assert len(whole.content) < 30_000
    listed = (await client.get("/api/v1/licenses", headers=desk.signed_in(owner))).json()["items"]
    assert [card["id"] for card in whole.json()["licenses"]] == [item["id"] for item in listed]


async def test_other_customers_rows_cost_nothing(client: Client, desk: Desk, database_urls: DatabaseUrls) -> None:
    owner = await desk.a_user()
    await desk.a_license(owner, LicenseType.STARTER)
    await change(
        database_urls,
        "INSERT INTO users (id, email, email_key, password_hash, full_name, role, is_active)"
        " SELECT gen_random_uuid(), n || '@other.test', n || '@other.test', '', '', 'customer', true"
        " FROM generate_series(1, 4000) AS n",
    )
    await change(
        database_urls,
        "INSERT INTO licenses (id, user_id, plan_id, license_key, license_key_hash, license_type, status, features,"
        " fingerprint_policy, provisioning, activation_date, auto_renew, max_emails, version)"
        " SELECT gen_random_uuid(), users.id, plan_id, '', decode(replace(users.id::text, '-', ''), 'hex'),"
        " license_type, 'suspended', '{}', fingerprint_policy, provisioning, activation_date, true, 1, 1"
        " FROM licenses, users WHERE users.email LIKE '%@other.test'",
    )
    await change(
        database_urls,
        "INSERT INTO license_usage (license_id, user_id, resource, used, events, version)"
        " SELECT id, user_id, 'emails', 2, 1, 1 FROM licenses",
    )
    await change(
        database_urls,
        "INSERT INTO subscriptions (id, user_id, license_id, stripe_subscription_id, plan_id, interval, status,"
        " current_period_start, current_period_end, cancel_at_period_end, plan_paid_until) SELECT gen_random_uuid(),"
        " user_id, id, id::text, plan_id, 'month', 'past_due', now(), now(), true, now() FROM licenses",
    )
    await change(database_urls, "ANALYZE licenses, license_usage, subscriptions, overage_candidates")
    now = desk.clock()
    names = {"now": now, "lately": now, "soon": now}
    async with desk.database.as_customer(owner) as tx:
        plan = "\n".join(await tx.session.scalars(text(f"EXPLAIN {ATTENTION.text}"), names))
    assert "Seq Scan on" not in plan.replace("Seq Scan on plans", ""), plan


async def test_the_newest_invoices_are_shown_as_the_list_shows_them(
    client: Client, desk: Desk, database_urls: DatabaseUrls, clock: FakeTime
) -> None:
    owner = await desk.a_user()
    for number in range(7):
        at = clock.now - timedelta(days=number)
        status = InvoiceStatus.OPEN if number == 0 else InvoiceStatus.PAID
        await added(database_urls, "invoices", owner, created_at=at, number=f"NP-{number}", status=status)
    shown = await seen(client, desk.signed_in(owner))
    listed = (await client.get("/api/v1/invoices", headers=desk.signed_in(owner))).json()["items"]
    assert shown["recent_invoices"] == [{name: one[name] for name in shown["recent_invoices"][0]} for one in listed[:5]]
    assert (shown["counts"]["invoices"], shown["counts"]["open_invoices"]) == (7, 1)


async def test_a_purchase_is_renewed_at_the_price_that_stripe_has(
    on_sale: None, client: Client, buyer: Buying, database_urls: DatabaseUrls
) -> None:
    ada = await buyer("Professional")
    (card,) = (shown := await seen(client, ada.me))["licenses"]
    subscription = (await client.get(f"/api/v1/subscriptions/{card['subscription_id']}", headers=ada.me)).json()
    renewal = {
        "at": subscription["current_period_end"],
        "subscription_id": subscription["id"],
        "license_id": card["id"],
        "plan": "Professional",
        "interval": "month",
        "amount": {"amount": 9900, "currency": "usd"},
        "is_list_price": False,
    }
    assert shown["next_renewal"] == renewal
    await change(database_urls, "UPDATE plans SET price_monthly = 19900 WHERE name = 'Professional'")
    try:
        assert (await seen(client, ada.me))["next_renewal"] == renewal, "it was sold at another price"
    finally:
        await change(database_urls, "UPDATE plans SET price_monthly = 9900 WHERE name = 'Professional'")
    await change(database_urls, "UPDATE subscriptions SET cancel_at_period_end = true")
    assert (await seen(client, ada.me))["next_renewal"] is None


PRO = PlanPrices(name="Professional", price_monthly=9900, price_yearly=99_000, currency="usd")
STARTER = PlanPrices(name="Starter", price_monthly=2900, price_yearly=29_000, currency="usd")


@pytest.mark.parametrize(
    ("changes", "plan", "interval", "amount", "is_list_price"),
    [
        ({"renewal_amount": 8000, "renewal_currency": "eur"}, "Professional", "month", Money(8000, "eur"), False),
        ({"renewal_amount": 0, "renewal_currency": "usd"}, "Professional", "month", Money(0, "usd"), False),
        ({"renewal_amount": None}, "Professional", "month", Money(9900, "usd"), True),
        ({"renewal_amount": None, "renewal_currency": "usd"}, "Professional", "month", Money(9900, "usd"), True),
        ({"interval": Interval.YEAR}, "Professional", "year", Money(99_000, "usd"), True),
        (
            {"renewal_amount": 8000, "renewal_currency": "usd", "pending_from": 0, "pending_interval": Interval.YEAR},
            *("Starter", "year", Money(29_000, "usd"), True),
        ),
        ({"renewal_amount": 8000, "renewal_currency": "usd"}, "Professional", "month", Money(8000, "usd"), False),
    ],
)
def test_the_next_period_is_that_of_the_plan_to_come(
    clock: FakeTime, changes: dict[str, Any], plan: str, interval: str, amount: Money, is_list_price: bool
) -> None:
    """A change that waits for its payment is charged by itself, at once."""
    ends = clock.now + timedelta(days=9)
    facts: dict[str, Any] = dict.fromkeys(NextPeriod.__struct_fields__) | {"id": new_id(), "license_id": new_id()}
    facts |= {"interval": Interval.MONTH, "current_period_end": ends, "plan": PRO, "pending_plan": STARTER} | changes
    if facts["pending_from"] is not None:
        facts["pending_from"] = ends
    told = NextRenewal.of(NextPeriod(**facts))
    assert (told.plan, told.interval, told.amount, told.is_list_price) == (plan, interval, amount, is_list_price)
    assert told.at == ends


async def test_a_suspended_account_and_a_stranger_see_nothing(
    client: Client, desk: Desk, database_urls: DatabaseUrls
) -> None:
    me = await desk.a_customer()
    await change(database_urls, "UPDATE users SET is_active = false")
    for headers in (me, {}, {"Authorization": "Bearer x"}):
        assert (await client.get(PATH, headers=headers)).status_code == 401


async def test_a_program_does_not_read_it_with_any_scope(client: Client, desk: Desk) -> None:
    """Its scopes open each part by itself."""
    me = await desk.a_customer()
    body = {"name": "books", "scopes": ["licenses:read", "invoices:read", "subscriptions:read", "usage:read"]}
    made = (await client.post("/api/v1/me/oauth-clients", json=body, headers=me)).json()
    granted = await client.post(
        "/api/v1/oauth/token",
        data={"grant_type": "client_credentials"},
        auth=(made["client_id"], made["client_secret"]),
    )
    headers = {"Authorization": f"Bearer {granted.json()['access_token']}"}
    assert (await client.get(PATH, headers=headers)).status_code == 403
