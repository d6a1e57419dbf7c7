"""What staff do to invoices and balances: once for each key, at Stripe and here, and refused where it does not fit."""

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from billing_api.commerce.stripe_mirror.service import Mirror, StripeObject
from tests.billing_api.conftest import Buying, Client
from tests.support.buyer import Buyer
from tests.support.databases import change, rows
from tests.support.people import Desk, Headers
from tests.support.servers import DatabaseUrls
from tests.support.stripe import objects

pytestmark = [pytest.mark.usefixtures("on_sale"), pytest.mark.calendar]

PATH = "/api/v1/admin/invoices"
WHY = {"reason": "ticket 93"}


def usd(amount: int) -> dict[str, object]:
    return {"amount": amount, "currency": "usd"}


@pytest.fixture
async def admin(desk: Desk) -> Headers:
    return await desk.staff()


async def unpaid(buyer: Buying) -> tuple[Buyer, str]:
    """A customer, and the id of an open renewal."""
    one = await buyer("Starter")
    await one.use_card("pm_card_chargeCustomerFail")
    await one.later(2 * 3600)
    await one.told()
    newest = (await one.client.get("/api/v1/invoices", headers=one.me)).json()["items"][0]
    assert newest["status"] == "open"
    return one, newest["id"]


async def paid(one: Buyer) -> str:
    return str((await one.client.get("/api/v1/invoices", headers=one.me)).json()["items"][0]["id"])


async def do(
    client: Client, admin: Headers, invoice_id: str, deed: str, body: Mapping[str, Any], key: str = "k"
) -> httpx.Response:
    headers = {**admin, "Idempotency-Key": key}
    return await client.post(f"{PATH}/{invoice_id}/{deed}", json=dict(body), headers=headers)


async def test_staff_find_invoices_by_what_they_know(client: Client, buyer: Buying, admin: Headers) -> None:
    one, invoice_id = await unpaid(buyer)
    other = await buyer("Professional")
    shown = (await client.get(f"{PATH}/{invoice_id}", headers=admin)).json()
    found = {
        "": 3,
        "?status=open": 1,
        "?failed=true": 1,
        "?failed=false": 2,
        f"?email={other.user_id.hex}@example.com": 1,
        f"?subscription_id={one.id}": 2,
        f"?number={shown['number'].lower()}": 1,
        f"?stripe_id={shown['stripe_invoice_id']}": 1,
        f"?from={shown['created_at']}&status=open": 1,
        f"?to={shown['created_at']}&status=open": 0,
    }
    for query, number in found.items():
        answer = await client.get(f"{PATH}{query}", headers=admin)
        assert (answer.status_code, answer.json()["total"]) == (200, number), query
    for query in ("?status=gone", "?paid=true", "?failed=perhaps", "?from=now"):
        assert (await client.get(f"{PATH}{query}", headers=admin)).status_code == 400, query


@pytest.mark.parametrize(("deed", "becomes"), [("void", "void"), ("mark-uncollectible", "uncollectible")])
async def test_an_open_invoice_is_voided_or_given_up_once(
    client: Client, buyer: Buying, admin: Headers, deed: str, becomes: str, database_urls: DatabaseUrls
) -> None:
    one, invoice_id = await unpaid(buyer)
    first = await do(client, admin, invoice_id, deed, WHY)
    assert (first.status_code, first.json()["status"]) == (200, becomes)
    again = await do(client, admin, invoice_id, deed, WHY)
    assert (again.json(), again.headers["idempotency-replayed"]) == (first.json(), "true")
    assert (await do(client, admin, invoice_id, deed, WHY, key="another")).status_code == 200
    [latest, _] = await objects(one.browser, one.stripe, "invoices", subscription=one.stripe_id)
    assert latest["status"] == becomes
    audited = await rows(database_urls, "SELECT detail FROM audit_log WHERE target_kind = 'invoice'")
    assert {row["detail"]["reason"] for row in audited} == {"ticket 93"}


async def test_what_is_paid_is_neither_voided_nor_given_up_nor_tried_again(
    client: Client, buyer: Buying, admin: Headers
) -> None:
    invoice_id = await paid(await buyer("Starter"))
    for deed in ("void", "mark-uncollectible", "retry"):
        answer = await do(client, admin, invoice_id, deed, WHY, key=deed)
        assert answer.status_code in {200, 409}, answer.text
        assert deed == "retry" or answer.status_code == 409
        assert (await client.get(f"{PATH}/{invoice_id}", headers=admin)).json()["status"] == "paid"


async def test_a_retry_charges_the_card_that_is_there_by_now(client: Client, buyer: Buying, admin: Headers) -> None:
    one, invoice_id = await unpaid(buyer)
    declined = await do(client, admin, invoice_id, "retry", WHY, key="first")
    assert (declined.status_code, declined.json()["code"]) == (402, "payment_declined")
    await one.use_card("pm_card_visa")
    answers = await asyncio.gather(*(do(client, admin, invoice_id, "retry", WHY, key=f"{n}") for n in range(3)))
    assert 200 in {answer.status_code for answer in answers}
    assert {answer.status_code for answer in answers} <= {200, 409}
    charges = await objects(one.browser, one.stripe, "charges", customer=one.customer)
    assert sum(charge["paid"] for charge in charges) == 2, "the purchase and one renewal"
    assert (await one.license())["status"] == "active"


async def test_what_has_ended_is_not_charged_any_more(
    client: Client, buyer: Buying, admin: Headers, database_urls: DatabaseUrls
) -> None:
    one, invoice_id = await unpaid(buyer)
    await change(database_urls, "UPDATE subscriptions SET ended_at = created_at")
    await one.use_card("pm_card_visa")
    refused = await do(client, admin, invoice_id, "retry", WHY)
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert (await client.get(f"{PATH}/{invoice_id}", headers=admin)).json()["status"] == "open"


async def test_a_disputed_payment_is_not_given_back_by_a_credit_note(
    client: Client, buyer: Buying, admin: Headers, mirror: Mirror
) -> None:
    one = await buyer("Starter")
    invoice_id = await paid(one)
    [charge] = await objects(one.browser, one.stripe, "charges", customer=one.customer)
    made = await one.browser.post(f"{one.stripe}/_sim/disputes", json={"charge": charge["id"], "kind": "chargeback"})
    await mirror.mirror(StripeObject("dispute", made.json()["id"], None))
    refused = await do(client, admin, invoice_id, "credit-note", {**WHY, "amount": 900, "to": "refund"})
    assert (refused.status_code, refused.json()["code"]) == (409, "payment_disputed")
    assert await objects(one.browser, one.stripe, "credit_notes", customer=one.customer) == []


async def test_colleagues_may_choose_the_same_key(client: Client, buyer: Buying, admin: Headers, desk: Desk) -> None:
    one = await buyer("Starter")
    invoice_id = await paid(one)
    order = {**WHY, "amount": 900, "to": "credit"}
    for colleague in (admin, await desk.staff()):
        assert (await do(client, colleague, invoice_id, "credit-note", order)).status_code == 201
    goodwill = {**WHY, "amount": 100, "description": "Goodwill"}
    for colleague in (admin, await desk.staff()):
        path = f"/api/v1/admin/users/{one.user_id}/balance"
        await client.post(path, json=goodwill, headers={**colleague, "Idempotency-Key": "k"})
    assert (await client.get("/api/v1/balance", headers=one.me)).json()["balance"] == usd(2000)


async def test_many_credit_notes_at_once_never_give_more_than_was_paid(
    client: Client, buyer: Buying, admin: Headers
) -> None:
    one = await buyer("Starter")
    invoice_id, order = await paid(one), {**WHY, "amount": 1000, "to": "refund"}
    answers = await asyncio.gather(*(do(client, admin, invoice_id, "credit-note", order, f"{n}") for n in range(5)))
    assert sorted(answer.status_code for answer in answers) == [201, 201, 422, 422, 422]
    notes = await objects(one.browser, one.stripe, "credit_notes", customer=one.customer)
    assert [note["total"] for note in notes] == [1000, 1000]


async def test_a_retry_for_which_the_bank_asks_for_the_owner_is_declined(
    client: Client, buyer: Buying, admin: Headers
) -> None:
    one, invoice_id = await unpaid(buyer)
    await one.use_card("pm_card_authenticationRequired")
    answer = await do(client, admin, invoice_id, "retry", WHY)
    assert (answer.status_code, answer.json()["code"]) == (402, "payment_declined")
    assert (await client.get(f"{PATH}/{invoice_id}", headers=admin)).json()["status"] == "open"


@pytest.mark.parametrize("to", ["refund", "credit", "out_of_band"])
async def test_a_credit_note_of_a_paid_invoice_goes_where_it_is_said_and_once(
    client: Client, buyer: Buying, admin: Headers, to: str
) -> None:
    one = await buyer("Starter")
    invoice_id = await paid(one)
    order = {**WHY, "amount": 900, "to": to}
    first, answer = [await do(client, admin, invoice_id, "credit-note", order) for _ in range(2)]
    assert (first.status_code, answer.status_code) == (201, 201), first.text
    [note] = answer.json()["credit_notes"]
    assert (note["amount"], note["status"]) == (usd(900), "issued")
    balance = (await client.get("/api/v1/balance", headers=one.me)).json()["balance"]
    assert balance == usd(900 if to == "credit" else 0)
    refunds = await objects(one.browser, one.stripe, "refunds", limit="10")
    mine = [refund for refund in refunds if refund["amount"] == 900 and refund["charge"]]
    charges = {charge["id"] for charge in await objects(one.browser, one.stripe, "charges", customer=one.customer)}
    assert len([refund for refund in mine if refund["charge"] in charges]) == (1 if to == "refund" else 0)


async def test_a_credit_note_by_lines_and_of_an_open_invoice(client: Client, buyer: Buying, admin: Headers) -> None:
    _, invoice_id = await unpaid(buyer)
    by_lines = {**WHY, "lines": [{"line": 1, "amount": 400}]}
    answer = await do(client, admin, invoice_id, "credit-note", by_lines)
    assert answer.status_code == 201, answer.text
    assert answer.json()["amount_remaining"] == usd(2500)


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({}, 422),
        ({"amount": 100, "lines": [{"line": 1, "amount": 100}], "to": "credit"}, 422),
        ({"lines": [{"line": 9, "amount": 100}], "to": "credit"}, 422),
        ({"amount": 100}, 409),
        ({"amount": 0, "to": "credit"}, 400),
        ({"amount": -1, "to": "credit"}, 400),
        ({"amount": 1.5, "to": "credit"}, 400),
        ({"amount": 100, "to": "charity"}, 400),
        ({"amount": 100, "to": "credit", "currency": "eur"}, 400),
        ({"amount": 10**12, "to": "refund"}, 422),
        ({"amount": 2901, "to": "refund"}, 422),
        ({"lines": [{"line": 1, "amount": 2901}], "to": "credit"}, 422),
    ],
)
async def test_a_credit_note_that_does_not_fit_is_refused_and_changes_nothing(
    client: Client, buyer: Buying, admin: Headers, more: dict[str, Any], status: int
) -> None:
    one = await buyer("Starter")
    invoice_id = await paid(one)
    answer = await do(client, admin, invoice_id, "credit-note", {**WHY, **more})
    assert answer.status_code == status, answer.text
    assert (await client.get(f"{PATH}/{invoice_id}", headers=admin)).json()["credit_notes"] == []
    assert (await client.get("/api/v1/balance", headers=one.me)).json()["balance"] == usd(0)


async def test_an_answer_of_stripe_that_was_lost_is_no_second_credit(
    client: Client, buyer: Buying, admin: Headers
) -> None:
    one = await buyer("Starter")
    invoice_id = await paid(one)
    fault = {"kind": "drop_after_effect", "path": "/v1/credit_notes", "method": "POST", "times": 9}
    faults = f"{one.stripe}/_sim/faults"
    (await one.browser.post(faults, json=fault)).raise_for_status()
    order = {**WHY, "amount": 900, "to": "credit"}
    lost = await do(client, admin, invoice_id, "credit-note", order)
    assert lost.status_code >= 500
    await one.browser.delete(faults)
    answer = await do(client, admin, invoice_id, "credit-note", order)
    assert (answer.status_code, len(answer.json()["credit_notes"])) == (201, 1)
    assert (await client.get("/api/v1/balance", headers=one.me)).json()["balance"] == usd(900)


async def test_a_balance_is_changed_once_for_a_key_and_in_the_customers_currency(
    client: Client, buyer: Buying, admin: Headers, desk: Desk
) -> None:
    one = await buyer("Starter")
    path = f"/api/v1/admin/users/{one.user_id}/balance"
    order: dict[str, Any] = {**WHY, "amount": 500, "description": "Goodwill"}
    headers = {**admin, "Idempotency-Key": "goodwill"}
    for _ in range(2):
        answer = await client.post(path, json=order, headers=headers)
        assert (answer.status_code, answer.json()["balance"]) == (201, usd(500)), answer.text
    assert (await client.get("/api/v1/balance", headers=one.me)).json()["entries"][0]["description"] == "Goodwill"
    owed = await client.post(path, json={**order, "amount": -200}, headers=admin)
    assert owed.json()["balance"] == usd(300)
    for more, status in (({"amount": 0}, 422), ({"currency": "eur"}, 422), ({"amount": "5"}, 400), ({"at": 1}, 400)):
        assert (await client.post(path, json={**order, **more}, headers=admin)).status_code == status, more
    nobody = f"/api/v1/admin/users/{await desk.a_user()}/balance"
    assert (await client.post(nobody, json=order, headers=admin)).status_code == 409


async def test_a_credit_note_by_lines_of_a_paid_invoice(client: Client, buyer: Buying, admin: Headers) -> None:
    one = await buyer("Starter")
    invoice_id = await paid(one)
    order = {**WHY, "lines": [{"line": 1, "amount": 900}], "to": "credit"}
    answer = await do(client, admin, invoice_id, "credit-note", order)
    assert (answer.status_code, answer.json()["credit_notes"][0]["amount"]) == (201, usd(900)), answer.text
    assert (await client.get("/api/v1/balance", headers=one.me)).json()["balance"] == usd(900)


async def test_a_line_takes_its_discount_along(client: Client, buyer: Buying, admin: Headers) -> None:
    other = await buyer("Starter")  # a way to Stripe
    coupon = await other.ask_stripe("POST", "coupons", percent_off="50", duration="once")
    code = {"promotion[type]": "coupon", "promotion[coupon]": coupon["id"], "code": "HALF"}
    await other.ask_stripe("POST", "promotion_codes", **code)
    one = await buyer("Starter", promotion_code="HALF")
    order = {**WHY, "lines": [{"line": 1, "amount": 1000}], "to": "credit"}
    answer = await do(client, admin, await paid(one), "credit-note", order)
    assert answer.status_code == 201, answer.text
    shown = answer.json()
    assert (shown["discount"], shown["total"]) == (usd(1450), usd(1450))
    assert shown["credit_notes"][0]["amount"] == usd(500)
