"""What each test card does, and what a payment leaves behind."""

from typing import Any

import pytest
import stripe

from tests.devstack.simulators.stripe.shop import Shop, kinds, wire

DECLINES = [
    ("chargeDeclined", "card_declined", "generic_decline"),
    ("chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
    ("chargeDeclinedLostCard", "card_declined", "lost_card"),
    ("chargeDeclinedStolenCard", "card_declined", "stolen_card"),
    ("chargeDeclinedExpiredCard", "expired_card", "expired_card"),
    ("chargeDeclinedIncorrectCvc", "incorrect_cvc", "incorrect_cvc"),
    ("chargeDeclinedProcessingError", "processing_error", "processing_error"),
    ("visa_chargeDeclinedVelocityLimitExceeded", "card_declined", "card_velocity_exceeded"),
]


def pay(shop: Shop, card: str = "visa", **changes: Any) -> stripe.PaymentIntent:
    params: Any = {"amount": 1000, "currency": "usd", "payment_method": f"pm_card_{card}", "confirm": True} | changes
    return shop.v1.payment_intents.create(params)


@pytest.mark.parametrize(("card", "code", "decline_code"), DECLINES)
def test_a_declined_card_says_why(shop: Shop, card: str, code: str, decline_code: str) -> None:
    last = shop.last_event()
    with pytest.raises(stripe.CardError) as refused:
        pay(shop, card)
    body: Any = refused.value.json_body
    error = body["error"]
    assert (refused.value.http_status, error["type"]) == (402, "card_error")
    assert (error["code"], error["decline_code"]) == (code, decline_code)
    intent = wire(shop.v1.payment_intents.retrieve(error["payment_intent"]["id"]))
    assert (intent["status"], intent["last_payment_error"]["decline_code"]) == ("requires_payment_method", decline_code)
    charge = wire(shop.v1.charges.retrieve(error["charge"]))
    assert (charge["status"], charge["failure_code"], charge["outcome"]["reason"]) == ("failed", code, decline_code)
    assert kinds(shop.events(newer_than=last)) == [
        "payment_intent.created",
        "charge.failed",
        "payment_intent.payment_failed",
    ]


@pytest.mark.parametrize("card", [card for card, _, _ in DECLINES])
def test_a_card_that_is_declined_is_not_kept_either(shop: Shop, card: str) -> None:
    with pytest.raises(stripe.CardError):
        shop.v1.payment_methods.attach(f"pm_card_{card}", {"customer": shop.customer().id})


def test_one_card_is_kept_and_then_always_declined(shop: Shop) -> None:
    customer = shop.customer()
    method = shop.v1.payment_methods.attach("pm_card_chargeCustomerFail", {"customer": customer.id})
    with pytest.raises(stripe.CardError):
        pay(shop, customer=customer.id, payment_method=method.id)


def test_a_payment_can_be_repeated_with_another_card(shop: Shop) -> None:
    with pytest.raises(stripe.CardError) as refused:
        pay(shop, "chargeDeclined")
    body: Any = refused.value.json_body
    intent = shop.v1.payment_intents.confirm(body["error"]["payment_intent"]["id"], {"payment_method": "pm_card_visa"})
    assert (intent.status, intent.last_payment_error, intent.amount_received) == ("succeeded", None, 1000)


@pytest.mark.parametrize(("result", "status"), [("complete", "succeeded"), ("fail", "requires_payment_method")])
def test_the_bank_asks_the_owner(shop: Shop, result: str, status: str) -> None:
    intent = pay(shop, "threeDSecure2Required", return_url="http://shop.example/back?x=1")
    action = wire(intent)["next_action"]["redirect_to_url"]
    assert intent.status == "requires_action"
    assert shop.http.get(action["url"]).status_code == 200
    answer = shop.http.post(action["url"], data={"result": result})
    assert answer.headers["location"].startswith(f"http://shop.example/back?x=1&payment_intent={intent.id}&")
    assert shop.v1.payment_intents.retrieve(intent.id).status == status
    assert shop.http.get(action["url"]).status_code == 404


def test_without_a_way_back_the_sdk_is_to_ask(shop: Shop) -> None:
    assert wire(pay(shop, "threeDSecure2Required"))["next_action"]["type"] == "use_stripe_sdk"


def test_nobody_can_be_asked_off_session(shop: Shop) -> None:
    with pytest.raises(stripe.CardError) as refused:
        pay(shop, "authenticationRequired", off_session=True, customer=shop.customer().id)
    assert refused.value.code == "authentication_required"
    body: Any = refused.value.json_body
    assert body["error"]["payment_intent"]["status"] == "requires_payment_method"


def test_a_card_that_was_set_up_pays_off_session(shop: Shop) -> None:
    customer = shop.customer()
    setup = shop.v1.setup_intents.create(
        {"customer": customer.id, "payment_method": "pm_card_authenticationRequired", "confirm": True}
    )
    assert setup.status == "requires_action"
    shop.http.post(f"/3ds/{setup.id}", data={"result": "complete"})
    kept = shop.v1.setup_intents.retrieve(setup.id)
    assert kept.status == "succeeded"
    paid = pay(shop, customer=customer.id, payment_method=str(kept.payment_method), off_session=True)
    assert paid.status == "succeeded"


def test_a_refused_setup_keeps_no_card(shop: Shop) -> None:
    customer = shop.customer()
    setup = shop.v1.setup_intents.create(
        {"customer": customer.id, "payment_method": "pm_card_authenticationRequired", "confirm": True}
    )
    shop.http.post(f"/3ds/{setup.id}", data={"result": "fail"})
    assert shop.v1.setup_intents.retrieve(setup.id).status == "requires_payment_method"
    assert shop.v1.customers.payment_methods.list(customer.id).data == []


def test_a_payment_for_later_keeps_the_card(shop: Shop) -> None:
    customer = shop.customer()
    pay(shop, customer=customer.id, setup_future_usage="off_session")
    assert len(shop.v1.customers.payment_methods.list(customer.id).data) == 1


def test_somebody_elses_card_may_not_be_used(shop: Shop) -> None:
    method = shop.v1.customers.payment_methods.list(shop.customer("pm_card_visa").id).data[0]
    with pytest.raises(stripe.InvalidRequestError):
        pay(shop, customer=shop.customer().id, payment_method=method.id)


def test_money_is_held_then_taken_in_part(shop: Shop) -> None:
    intent = pay(shop, capture_method="manual")
    assert (intent.status, intent.amount_capturable, intent.amount_received) == ("requires_capture", 1000, 0)
    with pytest.raises(stripe.InvalidRequestError):
        shop.v1.payment_intents.capture(intent.id, {"amount_to_capture": 1001})
    taken = shop.v1.payment_intents.capture(intent.id, {"amount_to_capture": 700, "expand": ["latest_charge"]})
    assert (taken.status, taken.amount_received) == ("succeeded", 700)
    assert wire(taken)["latest_charge"]["amount_captured"] == 700


@pytest.mark.parametrize("status", ["succeeded", "canceled"])
def test_what_is_over_is_over(shop: Shop, status: str) -> None:
    intent = pay(shop, confirm=status == "succeeded")
    if status == "canceled":
        shop.v1.payment_intents.cancel(intent.id)
    for verb in (shop.v1.payment_intents.confirm, shop.v1.payment_intents.cancel):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            verb(intent.id)
        assert refused.value.code == "payment_intent_unexpected_state"


def test_refunds_never_exceed_the_charge(shop: Shop) -> None:
    intent = pay(shop)
    last = shop.last_event()
    shop.v1.refunds.create({"payment_intent": intent.id, "amount": 400})
    assert kinds(shop.events(newer_than=last)) == [
        "refund.created",
        "charge.refunded",
        "refund.updated",
        "charge.refund.updated",
    ]
    with pytest.raises(stripe.InvalidRequestError, match="greater than unrefunded amount"):
        shop.v1.refunds.create({"payment_intent": intent.id, "amount": 601})
    rest = shop.v1.refunds.create({"charge": str(intent.latest_charge)})
    assert rest.amount == 600
    charge = shop.v1.charges.retrieve(str(intent.latest_charge))
    assert (charge.refunded, charge.amount_refunded) == (True, 1000)
    with pytest.raises(stripe.InvalidRequestError) as refused:
        shop.v1.refunds.create({"charge": charge.id})
    assert refused.value.code == "charge_already_refunded"


def test_the_balance_is_moved_less_the_fee(shop: Shop) -> None:
    intent = pay(shop)
    (moved,) = shop.v1.balance_transactions.list({"source": str(intent.latest_charge)}).data
    assert (moved.amount, moved.fee, moved.net, moved.type) == (1000, 59, 941, "charge")
