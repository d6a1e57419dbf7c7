"""Cards: added on Stripe's page, chosen, tried and removed, each by its owner alone, and at any failure in between."""

import asyncio
from typing import Any

import httpx
import pytest

from tests.billing_api.conftest import Buying
from tests.support.buyer import Buyer
from tests.support.environment import STRIPE_KEY
from tests.support.people import Desk, Headers

pytestmark = [pytest.mark.usefixtures("on_sale"), pytest.mark.calendar]

CARDS = "/api/v1/payment-methods"
HOUR = 3600


async def cards(client: httpx.AsyncClient, me: Headers) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await client.get(CARDS, headers=me)).json()["items"]
    return items


async def type_card(buyer: Buyer, started: dict[str, Any], card: str = "pm_card_mastercard") -> None:
    """As Stripe's Payment Element confirms the setup in the browser."""
    await buyer.ask_stripe("POST", f"setup_intents/{started['setup_id']}/confirm", payment_method=card)


async def started(buyer: Buyer) -> dict[str, Any]:
    answer = await buyer.client.post(f"{CARDS}/setup", headers=buyer.me)
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    body: dict[str, Any] = answer.json()
    return body


async def added(buyer: Buyer, card: str = "pm_card_mastercard") -> str:
    setup = await started(buyer)
    await type_card(buyer, setup, card)
    settled = (await buyer.client.get(f"{CARDS}/setup/{setup['setup_id']}", headers=buyer.me)).json()
    assert settled["status"] == "succeeded"
    return str(settled["payment_method"]["id"])


async def test_a_purchase_leaves_a_card_that_is_charged(buyer: Buying) -> None:
    one = await buyer("Starter")
    (card,) = await cards(one.client, one.me)
    assert (card["brand"], card["last4"]) == ("visa", "4242")
    assert (card["is_default"], card["expires_before_renewal"]) == (True, False)


async def test_a_customer_of_no_purchase_has_none_and_can_add_one(
    buyer: Buying, desk: Desk, client: httpx.AsyncClient
) -> None:
    one = await buyer("Starter")  # a way to Stripe
    me = desk.signed_in(await desk.a_user())
    assert await cards(client, me) == []
    setup = (await client.post(f"{CARDS}/setup", headers=me)).json()
    await type_card(one, setup)
    settled = (await client.get(f"{CARDS}/setup/{setup['setup_id']}", headers=me)).json()
    assert (settled["status"], settled["payment_method"]["is_default"]) == ("succeeded", True)
    again = (await client.get(f"{CARDS}/setup/{setup['setup_id']}", headers=me)).json()
    assert again == settled
    assert [card["brand"] for card in await cards(client, me)] == ["mastercard"]


async def test_two_setups_at_once_make_one_customer(desk: Desk, client: httpx.AsyncClient) -> None:
    me = desk.signed_in(await desk.a_user())
    answers = await asyncio.gather(*(client.post(f"{CARDS}/setup", headers=me) for _ in range(4)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["setup_id"] for answer in answers}) == 4
    assert await cards(client, me) == []


async def test_a_declined_card_is_told_and_another_may_be_typed(buyer: Buying) -> None:
    one = await buyer("Starter")
    setup = await started(one)
    path = f"{one.stripe}/v1/setup_intents/{setup['setup_id']}/confirm"
    form = {"payment_method": "pm_card_visa_chargeDeclined"}
    await one.browser.post(path, data=form, auth=(STRIPE_KEY, ""))
    settled = (await one.client.get(f"{CARDS}/setup/{setup['setup_id']}", headers=one.me)).json()
    assert (settled["status"], settled["payment_method"]) == ("requires_payment_method", None)
    await type_card(one, setup)
    settled = (await one.client.get(f"{CARDS}/setup/{setup['setup_id']}", headers=one.me)).json()
    assert (settled["status"], settled["payment_method"]["is_default"]) == ("succeeded", False)


async def test_a_new_default_pays_what_is_open_and_brings_the_license_back(buyer: Buying) -> None:
    one = await buyer("Starter")
    await one.use_card("pm_card_chargeCustomerFail")
    await one.later(2 * HOUR)
    await one.told()
    assert (await one.subscription())["status"] == "past_due"
    card = await added(one)
    headers = {**one.me, "Idempotency-Key": "new-card"}
    answer = await one.client.post(f"{CARDS}/{card}/default", headers=headers)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["payment_method"]["is_default"], [tried["status"] for tried in body["tried_invoices"]]) == (
        True,
        ["paid"],
    )
    assert (await one.subscription())["status"] == "active"
    assert (await one.at_stripe())["default_payment_method"] == card
    again = await one.client.post(f"{CARDS}/{card}/default", headers=headers)
    assert (again.json(), again.headers["idempotency-replayed"]) == (body, "true")
    assert [status for _, status, _ in await one.invoices()] == ["paid", "paid"]


async def test_a_card_that_is_declined_leaves_the_invoice_open_and_says_where_to_pay(buyer: Buying) -> None:
    one = await buyer("Starter")
    await one.use_card("pm_card_chargeCustomerFail")
    await one.later(2 * HOUR)
    card = await added(one, "pm_card_chargeCustomerFail")
    body = (await one.client.post(f"{CARDS}/{card}/default", headers=one.me)).json()
    (tried,) = body["tried_invoices"]
    assert tried["status"] == "open"
    assert "declined" in tried["error"]


async def test_the_last_card_under_a_running_subscription_stays(buyer: Buying) -> None:
    one = await buyer("Starter")
    (only,) = await cards(one.client, one.me)
    kept = await one.client.delete(f"{CARDS}/{only['id']}", headers=one.me)
    assert (kept.status_code, kept.json()["code"]) == (409, "payment_method_in_use")
    other = await added(one)
    assert (await one.client.delete(f"{CARDS}/{only['id']}", headers=one.me)).status_code == 204
    (left,) = await cards(one.client, one.me)
    assert (left["id"], left["is_default"]) == (other, True)
    assert (await one.at_stripe())["default_payment_method"] == other
    assert (await one.client.delete(f"{CARDS}/{only['id']}", headers=one.me)).status_code == 404


async def test_two_removals_at_once_leave_a_card(buyer: Buying) -> None:
    one = await buyer("Starter")
    await added(one)
    both = [card["id"] for card in await cards(one.client, one.me)]
    answers = await asyncio.gather(*(one.client.delete(f"{CARDS}/{card}", headers=one.me) for card in both))
    assert min(answer.status_code for answer in answers) == 204
    assert {answer.status_code for answer in answers} <= {204, 409, 503}
    assert len(await cards(one.client, one.me)) == 1


@pytest.mark.parametrize("verb", ["default", "remove", "settle"])
async def test_nobody_touches_the_card_of_another(buyer: Buying, desk: Desk, verb: str) -> None:
    one = await buyer("Starter")
    setup = await started(one)
    (card,) = await cards(one.client, one.me)
    other = await buyer("Starter")
    for me in (other.me, desk.signed_in(await desk.a_user())):
        if verb == "settle":
            answer = await one.client.get(f"{CARDS}/setup/{setup['setup_id']}", headers=me)
        elif verb == "remove":
            answer = await one.client.delete(f"{CARDS}/{card['id']}", headers=me)
        else:
            answer = await one.client.post(f"{CARDS}/{card['id']}/default", headers=me)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert len(await cards(one.client, one.me)) == 1


@pytest.mark.parametrize("method_id", ["pm_", "card_1", "pm_1%2F..%2Fcustomers", "x" * 300, "pm_%00"])
async def test_what_is_no_id_is_refused_before_stripe_is_asked(buyer: Buying, method_id: str) -> None:
    one = await buyer("Starter")
    answer = await one.client.post(f"{CARDS}/{method_id}/default", headers=one.me)
    assert answer.status_code in {400, 404}


async def test_a_card_that_expires_before_the_renewal_is_told(buyer: Buying) -> None:
    one = await buyer("Starter")
    (card,) = await cards(one.client, one.me)
    await one.ask_stripe("POST", f"payment_methods/{card['id']}", **{"card[exp_year]": 2020, "card[exp_month]": 1})
    (card,) = await cards(one.client, one.me)
    assert card["expires_before_renewal"] is True


async def test_a_customer_deleted_at_stripe_can_add_a_card_again(buyer: Buying) -> None:
    one = await buyer("Starter")
    await one.ask_stripe("DELETE", f"customers/{one.customer}")
    assert await cards(one.client, one.me) == []
    await added(one)
    assert len(await cards(one.client, one.me)) == 1
