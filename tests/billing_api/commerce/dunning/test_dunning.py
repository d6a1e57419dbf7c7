"""After a failed payment: told, suspended and ended by the policy, once each, and never for what was paid."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from billing_api.commerce.dunning.service import Dunning
from billing_api.commerce.stripe_mirror.service import Mirror
from billing_api.gateways.stripe.client import StripeGateway
from db.unit_of_work import Database
from tests.billing_api.commerce.dunning.conftest import DAY, Failing
from tests.billing_api.conftest import Buying, Client, FakeTime
from tests.support.databases import change, rows
from tests.support.people import Desk
from tests.support.servers import DatabaseUrls
from tests.support.stripe import objects

pytestmark = [pytest.mark.usefixtures("on_sale"), pytest.mark.calendar]

MAILS = ["payment_failed", "payment_failed_again", "suspension_tomorrow", "license_suspended", "license_ended_unpaid"]


async def test_from_the_first_failed_try_to_the_end(failing: Failing) -> None:
    one = await failing()
    seen = []
    for day in (0, 2.9, 3, 6, 6.9, 7, 29.9, 30, 31):
        await one.day(day)
        for _ in range(2):
            await one.steps()
        seen.append((day, len(await one.mails()), (await one.buyer.license())["status"], await one.causes()))
    assert seen == [
        (0, 1, "active", []),
        (2.9, 1, "active", []),
        (3, 2, "active", []),
        (6, 3, "active", []),
        (6.9, 3, "active", []),
        (7, 4, "suspended", ["unpaid"]),
        (29.9, 4, "suspended", ["unpaid"]),
        (30, 5, "cancelled", []),
        (31, 5, "cancelled", []),
    ]
    assert await one.mails() == MAILS
    assert [(day, passed) for day, _, passed in await one.taken()] == [(day, False) for day in (0, 3, 6, 7, 30)]
    assert (await one.buyer.at_stripe())["status"] == "canceled"
    assert (await one.at_stripe())["status"] == "void"


async def test_until_it_is_suspended_the_license_goes_on(failing: Failing) -> None:
    """Stripe's first try comes an hour after the end of the period; the grace is counted from that try."""
    one = await failing()
    suspended_from = datetime.fromtimestamp(one.failed_at, UTC) + timedelta(days=7)
    assert datetime.fromisoformat((await one.buyer.license())["grace_until"]) == suspended_from


async def test_a_payment_lifts_the_suspension_and_ends_the_steps(failing: Failing) -> None:
    one = await failing()
    await one.day(8)
    await one.steps()
    assert (await one.buyer.license())["status"] == "suspended"
    await one.pay()
    await one.told()
    assert ((await one.buyer.license())["status"], await one.causes()) == ("active", [])
    await one.buyer.use_card("pm_card_visa")
    await one.day(31)
    await one.steps()
    assert (await one.buyer.at_stripe())["status"] == "active"
    assert await one.mails() == ["license_suspended"]


async def test_what_was_paid_without_our_being_told_is_neither_suspended_nor_dunned(failing: Failing) -> None:
    one = await failing()
    await one.pay()
    await one.day(7)
    await one.steps()
    assert ((await one.buyer.license())["status"], await one.mails()) == ("active", [])


async def test_steps_that_nobody_looked_for_are_taken_later_with_one_mail(failing: Failing) -> None:
    one = await failing()
    await one.day(6.5)
    await one.steps()
    assert await one.mails() == ["suspension_tomorrow"]
    assert [passed for *_, passed in await one.taken()] == [True, True, False]
    await one.day(40)
    await one.steps()
    assert await one.mails() == ["suspension_tomorrow", "license_ended_unpaid"]
    assert (await one.buyer.license())["status"] == "cancelled"


async def test_two_workers_take_each_step_once(
    failing: Failing, database: Database, stripe: StripeGateway, mirror: Mirror, clock: FakeTime
) -> None:
    one = await failing()
    await one.day(7)
    others = [Dunning(database, stripe, mirror, clock) for _ in range(3)]
    await asyncio.gather(*(each.take_due_steps() for each in (one.dunning, *others)))
    assert await one.mails() == ["license_suspended"]
    assert len(await one.taken()) == 4


async def test_the_bank_that_asks_for_its_customer_has_a_mail_of_its_own_with_the_link(
    failing: Failing, database_urls: DatabaseUrls
) -> None:
    one = await failing("pm_card_authenticationRequired")
    await one.steps()
    [mail] = await rows(database_urls, "SELECT template, parameters FROM mails WHERE template LIKE 'payment%'")
    assert mail["template"] == "payment_needs_confirmation"
    assert mail["parameters"]["pay_url"] == (await one.at_stripe())["hosted_invoice_url"]


async def test_nothing_is_suspended_or_ended_while_staff_have_given_more_time(
    failing: Failing, database_urls: DatabaseUrls
) -> None:
    one = await failing()
    until = datetime.fromtimestamp(one.failed_at + 33 * DAY, UTC)
    await change(database_urls, "UPDATE licenses SET extended_until = :until, expiry_date = :until", until=until)
    await one.day(32)
    await one.steps()
    assert ((await one.buyer.license())["status"], await one.mails()) == ("active", ["suspension_tomorrow"])
    await one.day(34)
    await one.steps()
    assert (await one.buyer.license())["status"] == "cancelled"


async def test_who_has_left_is_told_nothing_more(failing: Failing) -> None:
    one = await failing()
    await one.steps()
    assert (await one.buyer.post("cancel")).status_code == 200
    await one.errands.run()
    await one.day(8)
    await one.steps()
    assert await one.mails() == ["payment_failed"]


async def test_a_policy_without_an_end_leaves_the_license_suspended(
    failing: Failing, client: Client, desk: Desk, clock: FakeTime
) -> None:
    admin = await desk.staff()
    policy = (await client.get("/api/v1/admin/settings/billing", headers=admin)).json()
    policy |= {"grace_days": 2, "dunning": [{"day": 1, "mail": "payment_failed"}, {"day": 2, "do": "suspend"}]}
    assert (await client.put("/api/v1/admin/settings/billing", json=policy, headers=admin)).status_code == 200
    one = await failing()
    for day in (0, 1, 2, 60):
        await one.day(day)
        await one.steps()
    assert await one.mails() == ["payment_failed", "license_suspended"]
    assert (await one.buyer.license())["status"] == "suspended"
    assert await one.dunning.next_due() is None


async def test_one_that_stripe_does_not_answer_for_holds_up_no_other(failing: Failing) -> None:
    first, second = await failing(), await failing()
    await second.day(7)
    path = f"{first.buyer.stripe}/_sim/faults"
    fault = {"kind": "status", "status": 400, "path": f"/v1/invoices/{first.invoice}", "method": "GET"}
    (await first.buyer.browser.post(path, json=fault)).raise_for_status()
    try:
        await first.dunning.take_due_steps()
    finally:
        await first.buyer.browser.delete(path)
    assert (await second.buyer.license())["status"] == "suspended"
    assert len(await second.causes()) == 1
    await first.day(7.1)
    await first.steps()
    assert (await first.buyer.license())["status"] == "suspended"


async def test_where_stripe_gives_up_first_that_is_the_end_and_staff_are_told_once(
    buyer: Buying, database_urls: DatabaseUrls
) -> None:
    one = await buyer("Starter")
    await one.use_card("pm_card_chargeCustomerFail")
    await one.later(40 * DAY)
    for _ in range(2):
        await one.told()
    assert (await one.license())["status"] == "cancelled"
    told = await rows(database_urls, "SELECT 1 FROM audit_log WHERE action = 'subscription.given_up_by_stripe'")
    assert len(told) == 1


async def test_the_next_step_is_told_to_who_moves_the_time(failing: Failing) -> None:
    one = await failing()
    for day, following in ((0, 3), (3, 6), (6, 7), (7, 30)):
        await one.day(day)
        await one.steps()
        assert await one.dunning.next_due() == datetime.fromtimestamp(one.failed_at, UTC) + timedelta(days=following)


async def test_of_two_unpaid_invoices_the_older_one_has_steps(failing: Failing) -> None:
    one = await failing()
    await one.day(32)
    await one.buyer.told()
    [latest, *_] = await objects(one.buyer.browser, one.buyer.stripe, "invoices", subscription=one.buyer.stripe_id)
    assert (latest["status"], latest["id"] != one.invoice) == ("open", True)
    await one.steps()
    assert await one.mails() == ["license_ended_unpaid"]


async def test_all_licenses_of_a_subscription_are_suspended_and_ended(
    failing: Failing, database_urls: DatabaseUrls
) -> None:
    one = await failing(quantity=3)
    seen = []
    for day in (7, 30):
        await one.day(day)
        await one.steps()
        seen.append([row["status"] for row in await rows(database_urls, "SELECT status FROM licenses")])
    assert seen == [["suspended"] * 3, ["cancelled"] * 3]
    assert await one.mails() == ["license_suspended", "license_ended_unpaid"]
