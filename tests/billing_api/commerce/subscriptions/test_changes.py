"""Plan changes by the customer: upgrade, downgrade, cancel and resume take effect once, at any failure in between."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select

from db.models.commerce import PlanChange
from db.models.messaging import AuditRow, OutboxRow
from db.models.usage import LicenseUsage
from db.unit_of_work import Database
from tests.billing_api.conftest import Buying, FakeTime
from tests.support.buyer import PATH, Buyer
from tests.support.databases import change
from tests.support.people import Desk
from tests.support.servers import DatabaseUrls

pytestmark = [pytest.mark.usefixtures("on_sale"), pytest.mark.calendar]

ASKS_OWNER = "4000000000003220"
HOUR = 3600


async def use(database: Database, buyer: Buyer, **used: int) -> None:
    rows = [
        {"license_id": buyer.license_id, "resource": name, "user_id": buyer.user_id, "used": number}
        for name, number in used.items()
    ]
    async with database.as_system() as tx:
        await tx.session.execute(insert(LicenseUsage).values(rows))


async def jobs(database: Database, kind: str) -> int:
    async with database.as_system() as tx:
        return [row["type"] for row in await tx.session.scalars(select(OutboxRow.job))].count(kind)


def in_force(license_: dict[str, Any]) -> tuple[Any, ...]:
    return license_["plan"], license_["license_type"], license_["max_databases"], license_["max_accounts"]


STARTER = ("Starter", "starter", 5, 1)
PROFESSIONAL = ("Professional", "professional", 50, 5)
ENTERPRISE = ("Enterprise", "enterprise", None, None)


async def test_an_upgrade_is_charged_and_counts_at_once(buyer: Buying, database: Database) -> None:
    one = await buyer("Starter")
    await use(database, one, databases=4)
    before = await one.subscription()
    after = await one.done("change", "Professional")
    assert (after["plan"], after["interval"], after["pending_change"]) == ("Professional", "month", None)
    assert after["current_period_end"] == before["current_period_end"]
    assert in_force(await one.license()) == PROFESSIONAL
    reason, status, total = (await one.invoices())[0]
    assert (reason, status) == ("subscription_update", "paid")
    assert total == pytest.approx(7000, abs=5)
    usage = (await one.client.get(f"/api/v1/licenses/{one.license_id}/usage", headers=one.me)).json()["resources"]
    assert (usage["databases"]["used"], usage["databases"]["limit"]) == (4, 50)
    assert await jobs(database, "align_account") == 1
    async with database.as_system() as tx:
        [detail] = await tx.session.scalars(select(AuditRow.detail).where(AuditRow.action == "license.plan_changed"))
    assert (detail["before"]["license_type"], detail["after"]["license_type"]) == ("starter", "professional")


async def test_a_month_becomes_a_year_with_a_new_period(buyer: Buying) -> None:
    one = await buyer("Starter")
    after = await one.done("change", "Starter", "year")
    start, end = (datetime.fromisoformat(after[f"current_period_{name}"]) for name in ("start", "end"))
    assert (after["interval"], (end - start).days in {365, 366}) == ("year", True)
    assert (await one.license())["expiry_date"] == after["current_period_end"]


async def test_a_declined_card_leaves_everything_as_it_was(buyer: Buying, database: Database) -> None:
    one = await buyer("Starter")
    before = (await one.subscription(), await one.license())
    await one.use_card("pm_card_chargeCustomerFail")
    declined = await one.post("change", "Professional", key="up-1")
    assert (declined.status_code, declined.json()["code"]) == (402, "payment_declined")
    assert "Your card was declined" in declined.json()["detail"]
    assert "new Idempotency-Key" in declined.json()["detail"]
    assert (await one.subscription(), await one.license()) == before
    assert (await one.at_stripe())["pending_update"] is None
    assert [status for _, status, _ in await one.invoices()] == ["void", "paid"]
    assert await jobs(database, "align_account") == 0
    again = await one.post("change", "Professional", key="up-1")
    assert (again.status_code, len(await one.invoices())) == (402, 2)
    await one.use_card("pm_card_visa")
    assert (await one.post("change", "Professional", key="up-2")).status_code == 200
    assert in_force(await one.license()) == PROFESSIONAL


async def test_a_renewal_is_not_lost_behind_a_declined_upgrade(buyer: Buying) -> None:
    one = await buyer("Starter")
    end = await one.later(HOUR // 2)  # the renewal is a draft
    await one.told()
    await one.use_card("pm_card_chargeCustomerFail")
    assert (await one.post("change", "Professional")).status_code == 402
    await one.use_card("pm_card_visa")
    await one.ask_stripe(
        "POST", f"test_helpers/test_clocks/{(await one.at_stripe())['test_clock']}/advance", frozen_time=end + 2 * HOUR
    )
    await one.told()
    assert (await one.license())["expiry_date"] == (await one.subscription())["current_period_end"]


async def test_a_bank_that_asks_its_customer_keeps_the_upgrade_waiting(buyer: Buying) -> None:
    one = await buyer("Starter", card=ASKS_OWNER)
    after = await one.done("change", "Professional")
    pending = after["pending_change"]
    assert (after["plan"], pending["plan"], pending["takes_effect_at"]) == ("Starter", "Professional", None)
    assert in_force(await one.license()) == STARTER
    refused = await one.post("change", "Starter", "year")
    assert refused.status_code == 200  # another upgrade takes its place
    after = await one.done("change", "Professional")
    await one.confirm(after["pending_change"]["payment_url"])
    await one.told()
    assert in_force(await one.license()) == PROFESSIONAL
    assert (await one.subscription())["pending_change"] is None


async def test_an_upgrade_that_waits_is_taken_back(buyer: Buying) -> None:
    one = await buyer("Professional", card=ASKS_OWNER)
    await one.done("change", "Enterprise")
    assert (await one.post("change", "Starter")).status_code == 409
    after = await one.done("resume")
    assert (after["plan"], after["pending_change"]) == ("Professional", None)
    assert [status for _, status, _ in await one.invoices()] == ["void", "paid"]


async def test_a_downgrade_waits_for_the_end_of_the_period(buyer: Buying, database: Database) -> None:
    one = await buyer("Professional")
    await use(database, one, databases=8, domains=2)
    before = await one.subscription()
    after = await one.done("change", "Starter")
    pending = after["pending_change"]
    assert (after["plan"], pending["plan"], pending["over"]) == ("Professional", "Starter", {"databases": 3})
    assert pending["takes_effect_at"] == before["current_period_end"]
    assert in_force(await one.license()) == PROFESSIONAL
    await one.later(-1)
    await one.told()
    assert in_force(await one.license()) == PROFESSIONAL
    await one.later(2 * HOUR)
    await one.told()
    assert in_force(await one.license()) == STARTER
    now = await one.subscription()
    assert (now["plan"], now["pending_change"]) == ("Starter", None)
    assert now["current_period_start"] == before["current_period_end"]
    assert await one.invoices() == [("subscription_cycle", "paid", 2900), ("subscription_create", "paid", 9900)]
    usage = (await one.client.get(f"/api/v1/licenses/{one.license_id}/usage", headers=one.me)).json()["resources"]
    assert (usage["databases"]["used"], usage["databases"]["over"]) == (8, 3)
    admin = await one.desk.staff()
    over = (await one.client.get("/api/v1/admin/licenses?overage=true", headers=admin)).json()["items"]
    assert [license_["id"] for license_ in over] == [one.license_id]


async def test_a_year_goes_down_to_a_month_at_its_end(buyer: Buying) -> None:
    one = await buyer("Professional", "year")
    before = await one.subscription()
    after = await one.done("change", "Starter", "month")
    assert after["pending_change"]["takes_effect_at"] == before["current_period_end"]
    await one.later(2 * HOUR)
    await one.told()
    now = await one.subscription()
    assert (now["plan"], now["interval"]) == ("Starter", "month")
    start, end = (datetime.fromisoformat(now[f"current_period_{name}"]) for name in ("start", "end"))
    assert 28 <= (end - start).days <= 31
    assert start.isoformat() == datetime.fromisoformat(before["current_period_end"]).isoformat()


async def test_a_downgrade_is_taken_back_or_replaced(buyer: Buying) -> None:
    one = await buyer("Enterprise")
    await one.done("change", "Starter")
    after = await one.done("change", "Professional")
    assert after["pending_change"]["plan"] == "Professional"
    taken_back = await one.done("resume")
    assert (taken_back["plan"], taken_back["pending_change"]) == ("Enterprise", None)
    await one.later(2 * HOUR)
    await one.told()
    assert in_force(await one.license()) == ENTERPRISE


async def test_up_used_and_down_again_gives_nothing_back(buyer: Buying) -> None:
    one = await buyer("Starter")
    await one.done("change", "Enterprise")
    await one.done("change", "Starter")
    assert in_force(await one.license()) == ENTERPRISE
    assert (await one.ask_stripe("GET", f"customers/{one.customer}"))["balance"] == 0
    assert (await one.post("change", "Enterprise", "year")).json()["code"] == "conflict"
    await one.later(2 * HOUR)
    await one.told()
    assert in_force(await one.license()) == STARTER
    assert (await one.ask_stripe("GET", f"customers/{one.customer}"))["balance"] == 0


async def test_an_end_comes_with_the_period_and_is_taken_back(buyer: Buying) -> None:
    one = await buyer("Professional")
    await one.done("change", "Starter")
    for _ in range(2):
        ends = await one.done("cancel")
        assert (ends["cancel_at_period_end"], ends["pending_change"]) == (True, None)
    refused = await one.post("change", "Enterprise")
    assert (refused.status_code, "resume it" in refused.json()["detail"]) == (409, True)
    assert (await one.done("resume"))["cancel_at_period_end"] is False
    await one.ask_stripe("POST", f"subscriptions/{one.stripe_id}", cancel_at="max_period_end")  # as the portal does
    assert (await one.done("resume"))["cancel_at_period_end"] is False
    await one.done("cancel")
    await one.later(HOUR)
    await one.told()
    assert ((await one.license())["status"], (await one.subscription())["status"]) == ("cancelled", "cancelled")
    for verb in ("cancel", "resume"):
        assert (await one.post(verb)).status_code == 409
    assert (await one.post("change", "Enterprise")).status_code == 409


async def test_what_a_change_would_mean_and_that_looking_changes_nothing(buyer: Buying, database: Database) -> None:
    one = await buyer("Professional")
    await use(database, one, databases=8)
    up = await one.done("preview-change", "Enterprise")
    assert (up["direction"], up["takes_effect_at"], up["price"]["amount"]) == ("upgrade", None, 29900)
    assert up["due_now"] == {"amount": pytest.approx(20000, abs=5), "currency": "usd"}
    assert up["limits"]["databases"] == {"used": 8, "limit": None, "over": 0}
    down = await one.done("preview-change", "Starter", "year")
    assert (down["direction"], down["due_now"]["amount"], down["price"]["amount"]) == ("downgrade", 0, 29000)
    assert down["takes_effect_at"] == (await one.subscription())["current_period_end"]
    assert down["limits"]["databases"] == {"used": 8, "limit": 5, "over": 3}
    assert len(await one.invoices()) == 1
    assert (await one.post("preview-change", "Professional")).status_code == 409


async def test_what_was_shown_is_charged_for_ten_minutes(buyer: Buying, clock: FakeTime) -> None:
    one = await buyer("Starter")
    await one.later(-20 * 24 * HOUR)
    clock.now = datetime.fromisoformat((await one.subscription())["current_period_end"]) - timedelta(days=20)
    one.sign_in()
    shown = await one.done("preview-change", "Professional")
    assert sum(line["amount"]["amount"] for line in shown["lines"]) == shown["due_now"]["amount"]
    assert [line["amount"]["amount"] < 0 for line in shown["lines"]] == [True, False]
    assert (shown["next_invoice"]["amount"]["amount"], shown["balance_used"]["amount"]) == (9900, 0)
    assert shown["next_invoice"]["at"] == (await one.subscription())["current_period_end"]
    clock.now += timedelta(minutes=9)
    wish = {"plan_id": shown["plan_id"], "interval": "month", "proration_date": shown["proration_date"]}
    changed = await one.client.post(f"{PATH}/{one.id}/change", json=wish, headers=one.me)
    assert changed.status_code == 200, changed.text
    assert (await one.invoices())[0] == ("subscription_update", "paid", shown["due_now"]["amount"])


async def test_a_preview_that_is_too_old_is_refused_with_a_new_one(buyer: Buying, clock: FakeTime) -> None:
    one = await buyer("Starter")
    shown = await one.done("preview-change", "Professional")
    clock.now += timedelta(minutes=11)
    wish = {"plan_id": shown["plan_id"], "interval": "month", "proration_date": shown["proration_date"]}
    stale = await one.client.post(f"{PATH}/{one.id}/change", json=wish, headers=one.me | {"Idempotency-Key": "up"})
    assert (stale.status_code, stale.json()["code"]) == (409, "preview_stale")
    assert len(await one.invoices()) == 1
    anew = stale.json()["preview"]
    assert anew["proration_date"] > shown["proration_date"]
    wish["proration_date"] = anew["proration_date"]
    changed = await one.client.post(f"{PATH}/{one.id}/change", json=wish, headers=one.me | {"Idempotency-Key": "up"})
    assert changed.status_code == 200, changed.text


@pytest.mark.parametrize("date", ["2020-01-01T00:00:00Z", "2099-01-01T00:00:00Z", "2026-11-22T16:00:00", "soon", 7])
async def test_a_date_of_no_preview_changes_nothing(buyer: Buying, date: Any) -> None:
    one = await buyer("Starter")
    wish = {"plan_id": await one.plan_id("Professional"), "interval": "month", "proration_date": date}
    answer = await one.client.post(f"{PATH}/{one.id}/change", json=wish, headers=one.me)
    assert answer.status_code in {400, 409}, answer.text
    assert len(await one.invoices()) == 1


async def test_a_credit_is_shown_as_used(buyer: Buying) -> None:
    one = await buyer("Starter")
    await one.ask_stripe("POST", f"customers/{one.customer}", balance="-1500")
    shown = await one.done("preview-change", "Professional")
    assert shown["balance_used"] == {"amount": 1500, "currency": "usd"}
    assert shown["due_now"]["amount"] == sum(line["amount"]["amount"] for line in shown["lines"]) - 1500


@pytest.mark.parametrize("fault", ["drop_after_effect", "drop"])
async def test_an_answer_that_was_lost_is_neither_a_second_charge_nor_no_change(buyer: Buying, fault: str) -> None:
    one = await buyer("Starter")
    rule = {"kind": fault, "method": "POST", "path": "/v1/subscriptions/*", "times": 3}
    assert (await one.browser.post(f"{one.stripe}/_sim/faults", json=rule)).is_success
    try:
        lost = await one.post("change", "Professional", key="up")
    finally:
        await one.browser.delete(f"{one.stripe}/_sim/faults")
    assert (lost.status_code, lost.json()["conclusive"]) == (502, False)
    assert "made or not" in lost.json()["detail"]
    assert (await one.post("change", "Professional", key="up")).status_code == 200
    assert in_force(await one.license()) == PROFESSIONAL
    assert [reason for reason, _, _ in await one.invoices()] == ["subscription_update", "subscription_create"]


async def test_killed_between_schedule_and_phases_the_retry_goes_on(buyer: Buying) -> None:
    one = await buyer("Professional")
    rule = {"kind": "status", "status": 500, "method": "POST", "path": "/v1/subscription_schedules/*", "times": 3}
    assert (await one.browser.post(f"{one.stripe}/_sim/faults", json=rule)).is_success
    try:
        assert (await one.post("change", "Starter", key="down")).status_code == 502
    finally:
        await one.browser.delete(f"{one.stripe}/_sim/faults")
    assert (await one.at_stripe())["schedule"] is not None
    await one.told()
    assert (await one.subscription())["pending_change"] is None
    again = await one.post("change", "Starter", key="down")
    assert again.json()["pending_change"]["plan"] == "Starter"


async def test_sent_twice_it_is_one_change(buyer: Buying, database: Database) -> None:
    one = await buyer("Starter")
    first, second = [await one.post("change", "Professional", key="up") for _ in range(2)]
    assert first.json() == second.json()
    assert second.headers["idempotency-replayed"] == "true"
    assert (await one.post("change", "Enterprise", key="up")).status_code == 422
    async with database.as_system() as tx:
        assert [row.direction for row in await tx.session.scalars(select(PlanChange))] == ["upgrade"]
    assert len(await one.invoices()) == 2


async def test_all_at_once_it_is_charged_once(buyer: Buying) -> None:
    one = await buyer("Starter")
    answers = await asyncio.gather(*(one.post("change", "Professional") for _ in range(4)))
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert [answer.status_code for answer in answers].count(200) >= 1
    assert in_force(await one.license()) == PROFESSIONAL
    paid = [total for reason, status, total in await one.invoices() if reason == "subscription_update" and total]
    assert paid == [pytest.approx(7000, abs=5)]


async def test_another_customers_subscription_does_not_exist(buyer: Buying, desk: Desk) -> None:
    one = await buyer("Starter")
    one.me = await desk.a_customer()
    for verb, plan in (
        ("preview-change", "Professional"),
        ("change", "Professional"),
        ("cancel", None),
        ("resume", None),
    ):
        assert (await one.post(verb, plan)).status_code == 404
    assert (await one.client.get(f"{PATH}/{one.id}", headers=one.me)).status_code == 404


@pytest.mark.parametrize(
    "wish",
    [
        {},
        {"plan_id": "x", "interval": "month"},
        {"plan_id": None, "interval": "week"},
        {"interval": "month", "price": 1},
    ],
)
async def test_a_wish_that_makes_no_sense_changes_nothing(buyer: Buying, wish: dict[str, Any]) -> None:
    one = await buyer("Starter")
    for verb in ("preview-change", "change"):
        answer = await one.client.post(f"{PATH}/{one.id}/{verb}", json=wish, headers=one.me)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_input")
    assert in_force(await one.license()) == STARTER


async def test_a_key_that_a_decline_has_released_carries_out_no_other_change(buyer: Buying) -> None:
    one = await buyer("Starter")
    await one.use_card("pm_card_chargeCustomerFail")
    assert (await one.post("change", "Professional", key="up")).status_code == 402
    await one.use_card("pm_card_visa")
    answer = await one.post("change", "Enterprise", key="up")
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_mismatch")
    assert (await one.subscription())["plan"] == "Starter"
    assert (await one.post("change", "Professional", key="up-2")).status_code == 200


async def test_a_key_that_stripe_has_forgotten_charges_nothing_again(
    buyer: Buying, database_urls: DatabaseUrls
) -> None:
    """An answer is kept for a week, Stripe's for a day; here ours is gone too."""
    one = await buyer("Starter")
    assert (await one.post("change", "Professional", key="up")).status_code == 200
    invoices = await one.invoices()
    await change(database_urls, "DELETE FROM idempotency_keys")
    await change(database_urls, "UPDATE plan_changes SET created_at = created_at - interval '25 hours'")
    answer = await one.post("change", "Professional", key="up")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert await one.invoices() == invoices
