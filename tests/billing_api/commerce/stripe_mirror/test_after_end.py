"""Money that comes for what has ended goes back by itself, once, and its owner and staff are told."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest

from billing_api.commerce.stripe_mirror.after_end import comes_after_end
from billing_api.commerce.stripe_mirror.service import Mirror, StripeObject
from billing_api.gateways.stripe.bills import Bill
from billing_api.gateways.stripe.facts import ChargedPeriod, InvoiceFacts
from core.clock import utc_now
from tests.billing_api.conftest import Buying, FakeTime
from tests.support.buyer import Buyer, at_once
from tests.support.databases import rows
from tests.support.errands import Errands
from tests.support.servers import DatabaseUrls
from tests.support.stripe import objects

pytestmark = pytest.mark.usefixtures("on_sale")

STARTER = 2900
DAY = 24 * 3600


async def given_up(buyer: Buying) -> tuple[Buyer, str]:
    """A subscription that Stripe ended after its last try, and its renewal's invoice, which stayed open."""
    one = await buyer("Starter")
    await one.use_card("pm_card_chargeCustomerFail")
    await one.later(40 * DAY)
    await one.told()
    assert (await one.at_stripe())["status"] == "canceled"
    [invoice, _] = await objects(one.browser, one.stripe, "invoices", subscription=one.stripe_id)
    assert invoice["status"] == "open"
    return one, invoice["id"]


async def pay(one: Buyer, invoice: str) -> StripeObject:
    await one.ask_stripe("POST", f"invoices/{invoice}/pay", payment_method="pm_card_visa")
    return StripeObject("invoice", invoice, one.customer)


async def refunds_at_stripe(one: Buyer) -> list[int]:
    charges = await objects(one.browser, one.stripe, "charges", customer=one.customer)
    return [
        refund["amount"]
        for charge in charges
        for refund in await objects(one.browser, one.stripe, "refunds", charge=charge["id"])
    ]


async def trouble(one: Buyer, kind: str | None) -> None:
    """Of every try of the next attempt to refund; None heals."""
    path = f"{one.stripe}/_sim/faults"
    if kind is None:
        (await one.browser.delete(path)).raise_for_status()
    else:
        fault = {"kind": kind, "path": "/v1/refunds", "method": "POST", "times": 3}
        (await one.browser.post(path, json=fault)).raise_for_status()


async def the_payment(urls: DatabaseUrls) -> dict[str, Any]:
    [payment] = await rows(urls, "SELECT status, refunded FROM payments WHERE refunded > 0")
    return payment


async def test_an_invoice_paid_after_the_end_goes_back_once(
    buyer: Buying, mirror: Mirror, errands: Errands, database_urls: DatabaseUrls
) -> None:
    one, invoice = await given_up(buyer)
    assert (await one.license())["status"] == "cancelled"
    subject = await pay(one, invoice)
    for _ in range(3):
        await mirror.mirror(subject)
        await one.told()
        await errands.run()
    assert await refunds_at_stripe(one) == [STARTER]
    assert await the_payment(database_urls) == {"status": "refunded", "refunded": STARTER}
    assert (await one.license())["status"] == "cancelled"
    [mail] = await rows(database_urls, "SELECT template, parameters FROM mails WHERE template <> 'license_ready'")
    assert (mail["template"], mail["parameters"]) == (
        "payment_returned",
        {"amount": "29.00 USD", "license_id": one.license_id},
    )
    seen = await rows(database_urls, "SELECT detail FROM audit_log WHERE action = 'payment.came_after_end'")
    assert [row["detail"]["amount"] for row in seen] == [STARTER]


async def test_everything_that_tells_of_it_at_once_is_one_refund(
    buyer: Buying, mirror: Mirror, errands: Errands
) -> None:
    one, invoice = await given_up(buyer)
    subject = await pay(one, invoice)
    await at_once(mirror, [subject, StripeObject("subscription", one.stripe_id, one.customer)] * 2)
    await mirror.mirror(subject)
    await asyncio.gather(errands.run(), errands.run())
    assert await refunds_at_stripe(one) == [STARTER]


async def test_it_is_found_where_the_end_and_the_payment_are_told_together(
    buyer: Buying, mirror: Mirror, errands: Errands
) -> None:
    """No event came for a month: the end and what was paid after it are seen in one look."""
    one = await buyer("Starter")
    await one.use_card("pm_card_chargeCustomerFail")
    await one.later(40 * DAY)
    [invoice, _] = await objects(one.browser, one.stripe, "invoices", subscription=one.stripe_id)
    await mirror.mirror(await pay(one, invoice["id"]))
    await errands.run()
    assert await refunds_at_stripe(one) == [STARTER]


async def test_a_renewal_between_our_decision_and_its_end_at_stripe_goes_back(
    buyer: Buying, mirror: Mirror, errands: Errands, database_urls: DatabaseUrls
) -> None:
    """The license ended with a refund; the job that ends the subscription came too late for one renewal."""
    one = await buyer("Starter")
    [charge] = await objects(one.browser, one.stripe, "charges", customer=one.customer)
    refund = await one.ask_stripe("POST", "refunds", charge=charge["id"])
    await mirror.mirror(StripeObject("refund", refund["id"], None))
    assert (await one.license())["status"] == "cancelled"
    await one.later(2 * DAY)
    [renewal, _] = await objects(one.browser, one.stripe, "invoices", subscription=one.stripe_id)
    assert renewal["status"] == "paid"
    await mirror.mirror(StripeObject("invoice", renewal["id"], one.customer))
    await errands.run()
    assert (await one.at_stripe())["status"] == "canceled"
    assert await refunds_at_stripe(one) == [STARTER, STARTER]
    assert {row["status"] for row in await rows(database_urls, "SELECT status FROM payments")} == {"refunded"}


async def test_what_was_paid_in_time_stays(buyer: Buying, mirror: Mirror, errands: Errands) -> None:
    one = await buyer("Starter")
    await one.later(2 * DAY)
    await one.ask_stripe("DELETE", f"subscriptions/{one.stripe_id}")
    for invoice in await objects(one.browser, one.stripe, "invoices", subscription=one.stripe_id):
        await mirror.mirror(StripeObject("invoice", invoice["id"], one.customer))
    assert await errands.run() == 0
    assert await refunds_at_stripe(one) == []


@pytest.mark.parametrize("hours", [0, 22, 25])
async def test_an_answer_that_got_lost_is_no_second_refund(
    buyer: Buying, mirror: Mirror, errands: Errands, clock: FakeTime, database_urls: DatabaseUrls, hours: int
) -> None:
    """Sent again under its key; after the key's day the refund is looked for by our id, and found."""
    one, invoice = await given_up(buyer)
    await mirror.mirror(await pay(one, invoice))
    [job] = await errands.waiting()
    await trouble(one, "drop_after_effect")
    await errands.attempt(job)
    assert [row["status"] for row in await rows(database_urls, "SELECT status FROM refunds")] == ["pending"]
    await trouble(one, None)
    clock.now += timedelta(hours=hours)
    await errands.attempt(job)
    assert await refunds_at_stripe(one) == [STARTER]
    assert await the_payment(database_urls) == {"status": "refunded", "refunded": STARTER}


async def test_a_refund_that_was_never_sent_is_sent_under_a_new_key_after_a_day(
    buyer: Buying, mirror: Mirror, errands: Errands, clock: FakeTime, database_urls: DatabaseUrls
) -> None:
    one, invoice = await given_up(buyer)
    await mirror.mirror(await pay(one, invoice))
    [job] = await errands.waiting()
    await trouble(one, "drop")
    await errands.attempt(job)
    await trouble(one, None)
    clock.now += timedelta(hours=25)
    await errands.attempt(job)
    assert await refunds_at_stripe(one) == [STARTER]
    assert [row["send_generation"] for row in await rows(database_urls, "SELECT send_generation FROM refunds")] == [1]


def an_invoice(paid_at: datetime | None, until: datetime) -> InvoiceFacts:
    return InvoiceFacts(
        id="in_1",
        customer_id="cus_1",
        subscription_id="sub_1",
        number=None,
        status="open" if paid_at is None else "paid",
        amount_due=STARTER,
        amount_paid=STARTER,
        currency="usd",
        pdf_url=None,
        created=utc_now(),
        due=None,
        paid_at=paid_at,
        payments=(),
        page_url=None,
        bill=Bill(STARTER, 0, 0, STARTER, 0, 0, ()),
        charges=(ChargedPeriod("price_1", until),),
    )


def test_what_comes_after_the_end() -> None:
    end = utc_now().replace(microsecond=0)
    second, month = timedelta(seconds=1), timedelta(days=30)
    cases = [
        (an_invoice(end + second, end + month), end, False, True),
        (an_invoice(end - second, end + month), end, False, False),
        (an_invoice(end, end + month), end, False, False),
        (an_invoice(end, end + month), end, True, True),  # the end was known, and the payment was not
        (an_invoice(end, end + month), end + timedelta(milliseconds=400), True, True),
        (an_invoice(end + second, end), end, False, False),  # for a time before the end: it was owed
        (an_invoice(None, end + month), end, False, False),
        (an_invoice(end + second, end + month), None, True, False),
    ]
    for invoice, ended_at, was_unpaid, comes in cases:
        assert comes_after_end(invoice, ended_at, was_unpaid_then=was_unpaid) is comes
