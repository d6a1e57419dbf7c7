"""Events in any order, twice, or one of them days late: the rows are the same in the end, to the cent and the second.

A whole life happens at Stripe while nobody tells us. Then its events are worked off in one order, our rows are taken
back to where they were, and the same events are worked off in another order.
"""

import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import httpx
import pytest

from billing_api.commerce.stripe_mirror.service import Mirror, StripeObject
from billing_api.operations.webhooks.service import subject_of
from tests.billing_api.conftest import Client, FakeTime
from tests.support.buyer import Buyer
from tests.support.databases import change, rows
from tests.support.environment import STRIPE_KEY
from tests.support.people import Desk
from tests.support.servers import DatabaseUrls
from tests.support.stripe import objects, pay

pytestmark = [pytest.mark.usefixtures("on_sale"), pytest.mark.calendar]

HOUR: Final = 3600
DAY: Final = 24 * HOUR
SHOWN: Final = {
    "licenses": "status, license_type, expiry_date, grace_until, auto_renew",
    "license_suspensions": "cause, ended_at IS NULL AS open",
    "subscriptions": "status, plan_id, interval, quantity, current_period_end, plan_paid_until, cancel_at_period_end,"
    " pending_plan_id, pending_from, ended_at, paused_for_dispute",
    "license_subscriptions": "position, ended_at IS NULL AS open",
    "invoices": "number, status, amount_due, amount_paid, total, amount_remaining, paid_at, first_failed_at",
    "payments": "status, amount, refunded, failure_code",
    "refunds": "status, amount, origin, effect",
    "disputes": "status, amount, effect",
    "checkout_sessions": "status",
}
MADE_BY_EVENTS: Final = (
    *("disputes", "refunds", "payment_intents", "payments", "dunning_steps", "invoices", "license_subscriptions"),
    *("subscriptions", "license_suspensions", "licenses", "outbox", "mails"),
)
Life = Callable[[Buyer], Awaitable[None]]


async def nothing_more(_: Buyer) -> None:
    """A purchase."""


async def renewed(one: Buyer) -> None:
    await one.later(2 * HOUR)


async def failed_and_paid(one: Buyer) -> None:
    await one.use_card("pm_card_chargeCustomerFail")
    await one.later(2 * HOUR)
    await one.use_card("pm_card_visa")
    [invoice, _] = await objects(one.browser, one.stripe, "invoices", subscription=one.stripe_id)
    await one.ask_stripe("POST", f"invoices/{invoice['id']}/pay")


async def given_up(one: Buyer) -> None:
    await one.use_card("pm_card_chargeCustomerFail")
    await one.later(40 * DAY)


async def upgraded(one: Buyer) -> None:
    await _to(one, "Professional", proration_behavior="always_invoice")


async def downgraded_and_renewed(one: Buyer) -> None:
    await _to(one, "Professional", proration_behavior="always_invoice")
    await _to(one, "Starter", proration_behavior="none")
    await one.later(2 * HOUR)


async def canceled_at_the_end(one: Buyer) -> None:
    await one.ask_stripe("POST", f"subscriptions/{one.stripe_id}", cancel_at_period_end="true")
    await one.later(2 * HOUR)


async def ended_at_once(one: Buyer) -> None:
    await one.later(2 * HOUR)
    await one.ask_stripe("DELETE", f"subscriptions/{one.stripe_id}")


async def refunded_in_part(one: Buyer) -> None:
    await one.ask_stripe("POST", "refunds", charge=await _charge(one), amount=1000)


async def refunded(one: Buyer) -> None:
    await one.ask_stripe("POST", "refunds", charge=await _charge(one))


async def disputed(one: Buyer) -> None:
    answer = await one.browser.post(f"{one.stripe}/_sim/disputes", json={"charge": await _charge(one)})
    answer.raise_for_status()


async def dispute_lost(one: Buyer) -> None:
    await disputed(one)
    [dispute] = await objects(one.browser, one.stripe, "disputes", charge=await _charge(one))
    await one.ask_stripe("POST", f"disputes/{dispute['id']}/close")


LIVES: Final[Sequence[Life]] = (
    *(nothing_more, renewed, failed_and_paid, given_up, upgraded, downgraded_and_renewed, canceled_at_the_end),
    *(ended_at_once, refunded_in_part, refunded, disputed, dispute_lost),
)


async def _to(one: Buyer, plan: str, **how: str) -> None:
    prices = await objects(one.browser, one.stripe, "prices", limit="100")
    beginning = f"np-{await one.plan_id(plan)}-month-"
    [price] = [one["id"] for one in prices if one["active"] and (one["lookup_key"] or "").startswith(beginning)]
    item = (await one.at_stripe())["items"]["data"][0]["id"]
    wanted = {"items[0][id]": item, "items[0][price]": price, **how}
    await one.ask_stripe("POST", f"subscriptions/{one.stripe_id}", **wanted)


async def _charge(one: Buyer) -> str:
    charges = await objects(one.browser, one.stripe, "charges", customer=one.customer)
    return str(charges[-1]["id"])


async def bought_untold(client: Client, browser: httpx.AsyncClient, stripe: str, mirror: Mirror, desk: Desk) -> Buyer:
    """A purchase at Stripe whose page of return was never opened."""
    one = Buyer(client, browser, stripe, mirror, desk)
    one.user_id = await desk.a_user()
    one.sign_in()
    order = {"plan_id": await one.plan_id("Starter"), "interval": "month"}
    checkout = (await client.post("/api/v1/checkout/sessions", json=order, headers=one.me)).json()
    await pay(browser, checkout["url"])
    one.customer = (await objects(browser, stripe, "customers", email=f"{one.user_id.hex}@example.com"))[0]["id"]
    one.stripe_id = (await objects(browser, stripe, "subscriptions", customer=one.customer))[0]["id"]
    return one


async def subjects_of(one: Buyer) -> list[StripeObject]:
    """What the customer's events name, in the order in which they happened."""
    found: list[dict[str, Any]] = []
    more: dict[str, str] = {}
    while True:
        query = {"limit": "100", **more}
        page = (await one.browser.get(f"{one.stripe}/v1/events", params=query, auth=(STRIPE_KEY, ""))).json()
        found += page["data"]
        if not page["has_more"]:
            break
        more = {"starting_after": page["data"][-1]["id"]}
    charges = {charge["id"] for charge in await objects(one.browser, one.stripe, "charges", customer=one.customer)}
    mine = [event for event in reversed(found) if _concerns(event["data"]["object"], one.customer, charges)]
    return [subject for event in mine if (subject := subject_of(event)) is not None]


def _concerns(named: dict[str, Any], customer: str, charges: set[str]) -> bool:
    return named.get("customer") == customer or named.get("charge") in charges


def orders(subjects: Sequence[StripeObject]) -> Iterator[tuple[str, list[StripeObject]]]:
    """Names and orders. That one event comes last is what a lost one is that is found by reconciliation."""
    yield "as it happened", list(subjects)
    yield "reversed", list(reversed(subjects))
    yield "twice each", [subject for subject in subjects for _ in range(2)]
    dice = random.Random(93)
    yield "shuffled", dice.sample(subjects, len(subjects))
    for late in dice.sample(range(len(subjects)), 2):
        yield f"the event {late} last", [*subjects[:late], *subjects[late + 1 :], subjects[late]]


async def taken_back(urls: DatabaseUrls) -> None:
    """Our rows as they were when the checkout had been started."""
    for table in MADE_BY_EVENTS:
        await change(urls, f"DELETE FROM {table}")
    await change(urls, "UPDATE checkout_sessions SET status = 'open'")


async def in_the_end(urls: DatabaseUrls) -> dict[str, list[dict[str, Any]]]:
    found = {table: await rows(urls, f"SELECT {columns} FROM {table}") for table, columns in SHOWN.items()}
    return {table: sorted(listed, key=repr) for table, listed in found.items()}


@pytest.mark.parametrize("life", LIVES, ids=lambda life: life.__name__)
async def test_the_rows_are_the_same_in_the_end(
    life: Life,
    client: Client,
    browser: httpx.AsyncClient,
    stripe_simulator: str,
    mirror: Mirror,
    desk: Desk,
    clock: FakeTime,
    database_urls: DatabaseUrls,
) -> None:
    one = await bought_untold(client, browser, stripe_simulator, mirror, desk)
    await life(one)
    subjects = await subjects_of(one)
    assert len(subjects) >= 5
    frozen = (await one.at_stripe()).get("test_clock")
    if frozen is not None:
        stands = (await one.ask_stripe("GET", f"test_helpers/test_clocks/{frozen}"))["frozen_time"]
        clock.now = datetime.fromtimestamp(stands, UTC)
    expected: dict[str, list[dict[str, Any]]] | None = None
    for name, order in orders(subjects):
        for subject in order:
            await mirror.mirror(subject)
        found = await in_the_end(database_urls)
        expected = expected or found
        assert found == expected, name
        assert len(found["licenses"]) == 1, name
        await taken_back(database_urls)
