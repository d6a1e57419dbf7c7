"""A person pays on the hosted page; what is left in the books is one purchase, whole or not at all."""

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import stripe

from tests.devstack.simulators.stripe.shop import ASKS_OWNER, CANCEL_URL, DECLINED, VISA, Shop, kinds, wire

pytestmark = pytest.mark.calendar

CHECKOUT_EVENTS = [
    "customer.created",
    "charge.succeeded",
    "payment_method.attached",
    "checkout.session.completed",
    "customer.updated",
    "customer.subscription.created",
    "payment_intent.succeeded",
    "payment_intent.created",
    "invoice.created",
    "invoice.finalized",
    "invoice.paid",
    "invoice.payment_succeeded",
    "invoice_payment.paid",
]


def now(shop: Shop, session: stripe.checkout.Session, *expand: str) -> dict[str, Any]:
    return wire(shop.v1.checkout.sessions.retrieve(session.id, {"expand": list(expand)}))


def bought(shop: Shop, session: stripe.checkout.Session) -> dict[str, Any]:
    """Every object of a paid subscription checkout, by name."""
    paid = now(shop, session, "subscription", "invoice")
    subscription, invoice = paid["subscription"], paid["invoice"]
    (payment,) = wire(shop.v1.invoice_payments.list({"invoice": invoice["id"]}))["data"]
    intent = wire(shop.v1.payment_intents.retrieve(payment["payment"]["payment_intent"]))
    charge = wire(shop.v1.charges.retrieve(intent["latest_charge"]))
    names = ("session", "subscription", "invoice", "payment", "intent", "charge")
    return dict(zip(names, (paid, subscription, invoice, payment, intent, charge), strict=True))


def test_a_purchase_hangs_together(shop: Shop) -> None:
    session = shop.session(metadata={"a": "1"}, client_reference_id="ref", subscription_data={"metadata": {"b": "2"}})
    answer = shop.pay(session)
    assert answer.status_code == 303
    assert answer.headers["location"] == f"http://shop.example/thanks?session={session.id}"
    it = bought(shop, session)
    paid, subscription, invoice, payment, intent, charge = it.values()
    assert (paid["status"], paid["payment_status"], paid["url"], paid["payment_intent"]) == (
        "complete",
        "paid",
        None,
        None,
    )
    assert (paid["metadata"], paid["client_reference_id"], subscription["metadata"]) == ({"a": "1"}, "ref", {"b": "2"})
    assert subscription["status"] == "active"
    assert subscription["latest_invoice"] == invoice["id"]
    assert invoice["parent"]["subscription_details"] == {"subscription": subscription["id"], "metadata": {"b": "2"}}
    assert (invoice["status"], invoice["amount_paid"], invoice["billing_reason"]) == (
        "paid",
        9900,
        "subscription_create",
    )
    assert (payment["status"], payment["amount_paid"]) == ("paid", 9900)
    assert (intent["status"], intent["amount_received"]) == ("succeeded", 9900)
    assert (charge["status"], charge["payment_intent"], charge["amount_captured"]) == ("succeeded", intent["id"], 9900)
    assert {one["customer"] for one in (subscription, invoice, intent, charge)} == {paid["customer"]}
    assert subscription["default_payment_method"] == charge["payment_method"]


def test_the_period_is_a_calendar_month(shop: Shop) -> None:
    session = shop.session()
    shop.pay(session)
    subscription = bought(shop, session)["subscription"]
    item = subscription["items"]["data"][0]
    assert 28 * 86400 <= item["current_period_end"] - item["current_period_start"] <= 31 * 86400
    assert "current_period_end" not in subscription


def test_events_come_in_the_observed_order(shop: Shop) -> None:
    session = shop.session()
    last = shop.last_event()
    shop.pay(session)
    events = shop.events(newer_than=last)
    assert kinds(events) == CHECKOUT_EVENTS
    told = {event["type"]: event["data"]["object"] for event in events}
    assert told["customer.subscription.created"]["status"] == "active"
    assert told["payment_intent.created"]["status"] == "requires_payment_method"
    assert told["checkout.session.completed"]["payment_status"] == "paid"
    assert (told["invoice.created"]["status"], told["invoice.paid"]["status"]) == ("draft", "paid")


def test_a_known_customer_is_not_made_again(shop: Shop) -> None:
    customer = shop.customer()
    session = shop.session(customer=customer.id)
    last = shop.last_event()
    shop.pay(session)
    assert kinds(shop.events(newer_than=last)) == CHECKOUT_EVENTS[1:]
    paid = now(shop, session)
    assert (paid["customer"], paid["customer_details"]["email"]) == (customer.id, "a@example.com")


def test_the_email_is_the_one_that_was_given(shop: Shop) -> None:
    given = shop.session(customer_email="given@example.com")
    typed = shop.session()
    shop.pay(given)
    shop.pay(typed, email="typed@example.com")
    for session, email in ((given, "given@example.com"), (typed, "typed@example.com")):
        paid = now(shop, session, "customer")
        assert (paid["customer_details"]["email"], paid["customer"]["email"]) == (email, email)


def test_a_decline_brings_the_page_back_and_leaves_the_session_open(shop: Shop) -> None:
    session = shop.session()
    last = shop.last_event()
    refused = shop.pay(session, DECLINED, name="B. Uyer")
    assert refused.status_code == 402
    assert "Your card was declined." in refused.text
    assert 'value="B. Uyer"' in refused.text
    assert kinds(shop.events(newer_than=last)) == [
        "customer.created",
        "payment_intent.created",
        "charge.failed",
        "payment_intent.payment_failed",
    ]
    assert (now(shop, session)["status"], now(shop, session)["subscription"]) == ("open", None)
    assert shop.pay(session).status_code == 303
    intent = bought(shop, session)["intent"]
    tries = wire(shop.v1.charges.list({"payment_intent": intent["id"]}))["data"]
    assert [one["status"] for one in tries] == ["succeeded", "failed"]


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ({"card": "4242424242424241"}, "Your card number is incorrect."),
        ({"card": "4111111111111111"}, "used a non test card"),
        ({"exp": "13/34"}, "expiration month is invalid"),
        ({"exp": "12/20"}, "expiration year is in the past"),
        ({"exp": "soon"}, "expiration date is incomplete"),
        ({"cvc": "12"}, "security code is invalid"),
    ],
)
def test_what_is_typed_wrong_is_told(shop: Shop, typed: dict[str, str], message: str) -> None:
    refused = shop.pay(shop.session(), **typed)
    assert refused.status_code == 402
    assert message in refused.text


def test_pressing_twice_pays_once(shop: Shop) -> None:
    session = shop.session()
    with ThreadPoolExecutor(8) as people:
        answers = list(people.map(lambda _: shop.submit(session.url), range(8)))
    assert {answer.headers["location"] for answer in answers} == {f"http://shop.example/thanks?session={session.id}"}
    it = bought(shop, session)
    assert len(wire(shop.v1.charges.list({"customer": it["session"]["customer"]}))["data"]) == 1
    assert len(wire(shop.v1.subscriptions.list({"customer": it["session"]["customer"]}))["data"]) == 1


def test_a_paid_session_leads_on(shop: Shop) -> None:
    session = shop.session()
    shop.pay(session)
    again = shop.http.get(str(session.url))
    assert (again.status_code, again.headers["location"]) == (303, f"http://shop.example/thanks?session={session.id}")


def test_the_page_names_the_price_and_the_way_back(shop: Shop) -> None:
    page = shop.http.get(str(shop.session().url)).text
    assert "$99.00" in page
    assert f'href="{CANCEL_URL}"' in page
    assert re.findall(r'<input[^>]* name="(\w+)"|<input name="(\w+)"', page)


def test_an_expired_session_takes_no_money(shop: Shop) -> None:
    session = shop.session()
    shop.v1.checkout.sessions.expire(session.id)
    assert shop.http.post(str(session.url), data={"card_number": VISA}).status_code == 410
    assert (now(shop, session)["status"], now(shop, session)["url"]) == ("expired", None)
    with pytest.raises(stripe.InvalidRequestError, match="Only Checkout Sessions"):
        shop.v1.checkout.sessions.expire(session.id)
    assert kinds(shop.events())[-1] == "checkout.session.expired"


def test_an_unknown_session_is_no_page(shop: Shop) -> None:
    assert shop.http.get("/c/pay/cs_test_nothing").status_code == 404


@pytest.mark.parametrize(("result", "status", "session_status"), [("complete", 303, "complete"), ("fail", 402, "open")])
def test_the_card_owner_is_asked(shop: Shop, result: str, status: int, session_status: str) -> None:
    session = shop.session()
    asked = shop.pay(session, ASKS_OWNER)
    assert asked.headers["location"] == f"{session.url}/confirm"
    assert "A payment of $99.00" in shop.http.get(asked.headers["location"]).text
    assert now(shop, session)["status"] == "open"
    assert shop.http.post(asked.headers["location"], data={"result": result}).status_code == status
    assert now(shop, session)["status"] == session_status


def test_a_card_may_be_declined_after_its_owner_agreed(shop: Shop) -> None:
    session = shop.session()
    asked = shop.pay(session, "4000008400001629")
    refused = shop.http.post(asked.headers["location"], data={"result": "complete"})
    assert (refused.status_code, now(shop, session)["status"]) == (402, "open")


def test_one_off_payment(shop: Shop) -> None:
    session = shop.session(
        mode="payment",
        line_items=[{"price": shop.price(1500, None), "quantity": 2}],
        payment_intent_data={"metadata": {"order": "9"}, "description": "A domain"},
        customer=shop.customer().id,
    )
    last = shop.last_event()
    shop.pay(session)
    paid = now(shop, session, "payment_intent", "line_items")
    assert (paid["amount_total"], paid["subscription"], paid["payment_status"]) == (3000, None, "paid")
    assert paid["line_items"]["data"][0]["quantity"] == 2
    intent = paid["payment_intent"]
    assert (intent["metadata"], intent["description"], intent["amount"]) == ({"order": "9"}, "A domain", 3000)
    assert kinds(shop.events(newer_than=last)) == [
        "charge.succeeded",
        "payment_intent.succeeded",
        "payment_intent.created",
        "checkout.session.completed",
        "charge.updated",
    ]


def test_a_trial_costs_nothing_today(shop: Shop) -> None:
    session = shop.session(subscription_data={"trial_period_days": 14})
    assert "Start trial" in shop.http.get(str(session.url)).text
    shop.pay(session)
    paid = now(shop, session, "subscription.latest_invoice")
    assert (paid["amount_total"], paid["payment_status"]) == (0, "no_payment_required")
    assert paid["subscription"]["status"] == "trialing"
    assert paid["subscription"]["trial_end"] - paid["subscription"]["trial_start"] == 14 * 86400
    assert (paid["subscription"]["latest_invoice"]["total"], paid["subscription"]["latest_invoice"]["status"]) == (
        0,
        "paid",
    )


def test_a_promotion_code_takes_off(shop: Shop) -> None:
    coupon = shop.v1.coupons.create({"percent_off": 50, "duration": "once"})
    shop.v1.promotion_codes.create({"promotion": {"type": "coupon", "coupon": coupon.id}, "code": "HALF"})
    session = shop.session(allow_promotion_codes=True)
    assert shop.http.post(f"{session.url}/promotion_code", data={"code": "NONE"}).status_code == 400
    assert shop.http.post(f"{session.url}/promotion_code", data={"code": "half"}).status_code == 303
    assert "$49.50" in shop.http.get(str(session.url)).text
    shop.pay(session)
    it = bought(shop, session)
    assert (it["session"]["amount_total"], it["session"]["total_details"]["amount_discount"]) == (4950, 4950)
    assert (it["invoice"]["total"], it["charge"]["amount"]) == (4950, 4950)
    assert it["subscription"]["discounts"] == []  # the coupon was for once
    assert shop.v1.coupons.retrieve(coupon.id).times_redeemed == 1


def test_a_code_counts_only_where_codes_are_asked_for(shop: Shop) -> None:
    assert shop.http.post(f"{shop.session().url}/promotion_code", data={"code": "HALF"}).status_code == 400


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"mode": "payment"}, "line_items[0][price]"),
        ({"success_url": None}, "success_url"),
        ({"line_items": []}, "line_items"),
        ({"line_items": [{"price": "price_none", "quantity": 1}]}, "line_items[0][price]"),
        ({"payment_intent_data": {"description": "x"}}, "payment_intent_data"),
        ({"customer": "cus_none"}, "customer"),
        ({"expires_at": 5}, "expires_at"),
        ({"ui_mode": "form"}, "ui_mode"),
    ],
)
def test_a_session_that_cannot_be_is_refused(shop: Shop, changes: dict[str, Any], param: str) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        shop.session(**changes)
    assert refused.value.param == param


def test_the_invoice_has_a_page(shop: Shop) -> None:
    session = shop.session()
    shop.pay(session)
    invoice = bought(shop, session)["invoice"]
    page, pdf = shop.http.get(invoice["hosted_invoice_url"]), shop.http.get(invoice["invoice_pdf"])
    assert (page.status_code, pdf.status_code, pdf.headers["content-type"]) == (200, 200, "application/pdf")
    assert invoice["number"] in page.text
    assert "<form" not in page.text, "nothing is open"
    assert pdf.content.startswith(b"%PDF-1.4")
    assert invoice["number"].encode() in pdf.content
    assert shop.http.get("/i/in_none").status_code == 404
