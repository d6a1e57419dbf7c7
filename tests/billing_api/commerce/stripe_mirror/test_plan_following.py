"""Plan synchronization: a price that changed at Stripe reaches the license when it is paid, or at the period's end."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from billing_api.commerce.stripe_mirror.overdue import mirror_overdue
from billing_api.commerce.stripe_mirror.service import Mirror, StripeObject
from db.models.messaging import OutboxRow
from db.unit_of_work import Database
from tests.billing_api.conftest import Buying, FakeTime
from tests.support.buyer import Buyer, at_once
from tests.support.stripe import objects

pytestmark = [pytest.mark.usefixtures("on_sale"), pytest.mark.calendar]


async def price_of(one: Buyer, plan: str, interval: str = "month") -> str:
    """The plan's present price; Stripe keeps those of other tests, too."""
    plans = (await one.client.get("/api/v1/plans")).json()["items"]
    offer = next(found for found in plans if found["name"] == plan)
    amount = offer[f"price_{interval}ly"]
    prices = await objects(one.browser, one.stripe, "prices", product=f"np_{offer['id']}", limit="20")
    return str(next(one["id"] for one in prices if (one["unit_amount"], one["currency"]) == (amount["amount"], "usd")))


async def by_hand(one: Buyer, plan: str, interval: str = "month", **how: str) -> None:
    """Changes the price directly at Stripe, without our routes."""
    item = (await one.at_stripe())["items"]["data"][0]["id"]
    form = {"items[0][id]": item, "items[0][price]": await price_of(one, plan, interval)}
    await one.ask_stripe("POST", f"subscriptions/{one.stripe_id}", **form, **how)


async def aligned(database: Database) -> int:
    async with database.as_system() as tx:
        jobs = [row["type"] for row in await tx.session.scalars(select(OutboxRow.job))]
    return jobs.count("align_account")


async def plan(one: Buyer) -> Any:
    return (await one.license())["plan"]


async def test_a_paid_upgrade_by_hand_is_followed_once_whatever_tells_of_it(buyer: Buying, database: Database) -> None:
    one = await buyer("Starter")
    await by_hand(one, "Professional", proration_behavior="always_invoice")
    invoices = await objects(one.browser, one.stripe, "invoices", subscription=one.stripe_id)
    subjects = [StripeObject("invoice", invoice["id"], one.customer) for invoice in invoices]
    subjects.append(StripeObject("subscription", one.stripe_id, one.customer))
    await at_once(one.mirror, subjects * 4)
    assert (await plan(one), await aligned(database)) == ("Professional", 1)


async def test_an_unpaid_upgrade_by_hand_waits_for_its_money(buyer: Buying, database: Database) -> None:
    one = await buyer("Starter")
    await one.use_card("pm_card_chargeCustomerFail")
    await by_hand(one, "Professional", proration_behavior="always_invoice")
    await one.told()
    shown = await one.subscription()
    assert (await plan(one), shown["plan"], shown["status"]) == ("Starter", "Starter", "past_due")
    assert (shown["pending_change"]["plan"], shown["pending_change"]["takes_effect_at"]) == ("Professional", None)
    assert shown["pending_change"]["payment_url"]
    latest = (await one.at_stripe())["latest_invoice"]
    await one.use_card("pm_card_visa")
    await one.ask_stripe("POST", f"invoices/{latest}/pay")
    await one.told()
    assert (await plan(one), (await one.subscription())["pending_change"]) == ("Professional", None)
    assert await aligned(database) == 1


async def test_what_will_be_billed_later_counts_when_it_is_paid(buyer: Buying) -> None:
    one = await buyer("Starter")
    await by_hand(one, "Professional", proration_behavior="create_prorations")
    await one.told()
    assert await plan(one) == "Starter"
    await one.later(2 * 3600)
    await one.told()
    assert await plan(one) == "Professional"


@pytest.mark.parametrize("proration", ["none", "always_invoice"])
async def test_a_downgrade_by_hand_waits_for_the_end_of_what_is_paid(
    buyer: Buying, clock: FakeTime, proration: str
) -> None:
    one = await buyer("Professional")
    await by_hand(one, "Starter", proration_behavior=proration)
    await one.told()
    shown = await one.subscription()
    assert (await plan(one), shown["plan"]) == ("Professional", "Professional")
    assert shown["pending_change"]["takes_effect_at"] == shown["current_period_end"]
    await one.later(2 * 3600)
    await one.told()
    assert await plan(one) == "Starter"


async def test_a_year_that_was_paid_is_not_cut_short_by_a_cheaper_month(buyer: Buying, clock: FakeTime) -> None:
    one = await buyer("Professional", "year")
    year_ends = (await one.subscription())["current_period_end"]
    await by_hand(one, "Starter", proration_behavior="always_invoice")
    for _ in range(3):
        await one.told()
        pending = (await one.subscription())["pending_change"]
        assert (await plan(one), pending["takes_effect_at"]) == ("Professional", year_ends)
        await one.later(2 * 3600)
    clock.now += timedelta(days=367)
    one.sign_in()
    await one.told()
    assert (await plan(one), (await one.subscription())["interval"]) == ("Starter", "month")


async def test_a_downgrade_counts_on_its_day_paid_or_not(buyer: Buying) -> None:
    one = await buyer("Professional")
    await one.done("change", "Starter")
    await one.use_card("pm_card_chargeCustomerFail")
    await one.later(2 * 3600)
    await one.told()
    assert (await plan(one), (await one.subscription())["status"]) == ("Starter", "past_due")


async def test_what_is_overdue_is_found_without_any_event(
    buyer: Buying, database: Database, mirror: Mirror, clock: FakeTime
) -> None:
    one = await buyer("Professional")
    await one.done("change", "Starter")

    async def two_at_once() -> list[int]:
        return await asyncio.gather(*(mirror_overdue(database, mirror, clock()) for _ in range(2)))

    assert await two_at_once() == [0, 0]  # and each has a connection from now on: neither is ahead of the other
    await one.later(2 * 3600)
    clock.now += timedelta(days=32)
    assert max(await two_at_once()) == 1  # the second finds nothing where it looks after the first has finished
    one.sign_in()
    assert await plan(one) == "Starter"
    assert await mirror_overdue(database, mirror, clock()) == 0


async def test_one_that_cannot_be_mirrored_keeps_no_other_from_it(
    buyer: Buying, database: Database, mirror: Mirror, clock: FakeTime
) -> None:
    broken, sound = await buyer("Enterprise"), await buyer("Professional")
    await broken.later(2 * 3600)
    await sound.done("change", "Starter")
    await sound.later(2 * 3600)
    fault = {
        "kind": "status",
        "status": 400,
        "path": f"/v1/subscriptions/{broken.stripe_id}",
        "method": "GET",
        "times": 9,
    }
    (await broken.browser.post(f"{broken.stripe}/_sim/faults", json=fault)).raise_for_status()
    clock.now += timedelta(days=32)
    assert await mirror_overdue(database, mirror, clock()) == 2
    sound.sign_in()
    assert await plan(sound) == "Starter"
    assert await mirror_overdue(database, mirror, clock()) == 0
    clock.now += timedelta(minutes=6)
    assert await mirror_overdue(database, mirror, clock()) >= 1
    await broken.browser.delete(f"{broken.stripe}/_sim/faults")
