"""A subscription's life as far as it is simulated: begun, paid, changed, ended."""

from typing import Any

import pytest
import stripe

from tests.devstack.simulators.stripe.shop import Shop, kinds, wire

pytestmark = pytest.mark.calendar


def with_invoice(shop: Shop, subscription: stripe.Subscription) -> dict[str, Any]:
    expand: Any = {"expand": ["latest_invoice.confirmation_secret", "latest_invoice.payments"]}
    return wire(shop.v1.subscriptions.retrieve(subscription.id, expand))


def item_of(subscription: stripe.Subscription) -> str:
    return str(subscription["items"].data[0].id)


def test_a_card_on_file_makes_it_active(shop: Shop) -> None:
    customer = shop.customer("pm_card_visa")
    last = shop.last_event()
    subscription = shop.subscription(customer=customer.id)
    assert subscription.status == "active"
    assert with_invoice(shop, subscription)["latest_invoice"]["status"] == "paid"
    told = kinds(shop.events(newer_than=last))
    assert [kind for kind in told if kind not in ("product.created", "price.created")] == [
        "charge.succeeded",
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


def test_without_a_card_it_waits_for_its_payment(shop: Shop) -> None:
    subscription = shop.subscription(customer=shop.customer().id, payment_behavior="default_incomplete")
    assert subscription.status == "incomplete"
    invoice = with_invoice(shop, subscription)["latest_invoice"]
    intent = invoice["payments"]["data"][0]["payment"]["payment_intent"]
    assert invoice["confirmation_secret"]["client_secret"].startswith(f"{intent}_secret_")
    last = shop.last_event()
    shop.v1.payment_intents.confirm(intent, {"payment_method": "pm_card_visa"})
    after = with_invoice(shop, subscription)
    assert (after["status"], after["latest_invoice"]["status"]) == ("active", "paid")
    assert kinds(shop.events(newer_than=last)) == [
        "charge.succeeded",
        "payment_method.attached",
        "payment_intent.succeeded",
        "invoice.paid",
        "invoice.payment_succeeded",
        "invoice_payment.paid",
        "customer.subscription.updated",
    ]


def test_the_card_that_paid_is_remembered_where_asked(shop: Shop) -> None:
    subscription = shop.subscription(
        customer=shop.customer().id,
        payment_behavior="default_incomplete",
        payment_settings={"save_default_payment_method": "on_subscription"},
    )
    intent = with_invoice(shop, subscription)["latest_invoice"]["payments"]["data"][0]["payment"]["payment_intent"]
    shop.v1.payment_intents.confirm(intent, {"payment_method": "pm_card_visa"})
    method = shop.v1.subscriptions.retrieve(subscription.id).default_payment_method
    assert shop.v1.payment_methods.retrieve(str(method)).customer == subscription.customer


def test_a_declined_first_payment_leaves_it_incomplete(shop: Shop) -> None:
    customer = shop.customer("pm_card_chargeCustomerFail")
    subscription = shop.subscription(customer=customer.id)
    after = with_invoice(shop, subscription)
    assert (after["status"], after["latest_invoice"]["status"]) == ("incomplete", "open")
    assert (after["latest_invoice"]["attempt_count"], after["latest_invoice"]["next_payment_attempt"]) == (1, None)


def test_or_leaves_nothing_at_all_where_asked(shop: Shop) -> None:
    customer = shop.customer("pm_card_chargeCustomerFail")
    last = shop.last_event()
    with pytest.raises(stripe.CardError):
        shop.subscription(customer=customer.id, payment_behavior="error_if_incomplete")
    assert shop.v1.subscriptions.list({"customer": customer.id, "status": "all"}).data == []
    assert shop.v1.invoices.list({"customer": customer.id}).data == []
    assert shop.events(newer_than=last) == []


def test_an_owner_to_be_asked_leaves_it_incomplete(shop: Shop) -> None:
    customer = shop.customer("pm_card_threeDSecure2Required")
    last = shop.last_event()
    subscription = shop.subscription(customer=customer.id)
    assert subscription.status == "incomplete"
    assert "invoice.payment_action_required" in kinds(shop.events(newer_than=last))
    intent = with_invoice(shop, subscription)["latest_invoice"]["payments"]["data"][0]["payment"]["payment_intent"]
    shop.http.post(f"/3ds/{intent}", data={"result": "complete"})
    assert shop.v1.subscriptions.retrieve(subscription.id).status == "active"


def test_an_upgrade_is_billed_for_the_rest_of_the_period(shop: Shop) -> None:
    subscription = shop.subscription(9900)
    change: Any = {
        "items": [{"id": item_of(subscription), "price": shop.price(29900)}],
        "proration_behavior": "always_invoice",
    }
    last = shop.last_event()
    after = wire(shop.v1.subscriptions.update(subscription.id, change | {"expand": ["latest_invoice"]}))
    invoice = after["latest_invoice"]
    assert (invoice["billing_reason"], invoice["status"]) == ("subscription_update", "paid")
    assert [line["parent"]["subscription_item_details"]["proration"] for line in invoice["lines"]["data"]] == [
        True,
        True,
    ]
    assert invoice["total"] == pytest.approx(20000, abs=5)  # a few seconds of the month may have passed
    assert kinds(shop.events(newer_than=last))[:3] == ["invoiceitem.created", "invoiceitem.created", "invoice.created"]
    assert kinds(shop.events(newer_than=last))[-1] == "customer.subscription.updated"


def test_a_downgrade_becomes_credit_and_never_cash(shop: Shop) -> None:
    subscription = shop.subscription(29900)
    change: Any = {
        "items": [{"id": item_of(subscription), "price": shop.price(9900)}],
        "proration_behavior": "always_invoice",
    }
    after = wire(shop.v1.subscriptions.update(subscription.id, change | {"expand": ["latest_invoice"]}))
    invoice = after["latest_invoice"]
    assert (invoice["status"], invoice["amount_due"]) == ("paid", 0)
    balance = shop.v1.customers.retrieve(str(subscription.customer)).balance
    assert balance == invoice["total"] == pytest.approx(-20000, abs=5)


def test_credit_is_used_by_the_next_invoice(shop: Shop) -> None:
    customer = shop.customer("pm_card_visa")
    shop.v1.customers.update(customer.id, {"balance": -4000})
    invoice = wire(shop.subscription(9900, customer=customer.id, expand=["latest_invoice"]))["latest_invoice"]
    assert (invoice["total"], invoice["amount_due"], invoice["amount_paid"]) == (9900, 5900, 5900)
    assert (invoice["starting_balance"], invoice["ending_balance"]) == (-4000, 0)
    assert shop.v1.customers.retrieve(customer.id).balance == 0


def test_prorations_may_wait(shop: Shop) -> None:
    subscription = shop.subscription(9900)
    change: Any = {"items": [{"id": item_of(subscription), "price": shop.price(29900)}]}
    after = shop.v1.subscriptions.update(subscription.id, change)
    assert after.latest_invoice == subscription.latest_invoice
    waiting = shop.v1.invoice_items.list({"customer": str(subscription.customer), "pending": True})
    assert sorted(item.amount > 0 for item in waiting.data) == [False, True]


def test_prorations_may_be_renounced(shop: Shop) -> None:
    subscription = shop.subscription(9900)
    change: Any = {"items": [{"id": item_of(subscription), "price": shop.price(29900)}], "proration_behavior": "none"}
    after = shop.v1.subscriptions.update(subscription.id, change)
    assert after["items"].data[0].price.unit_amount == 29900
    assert shop.v1.invoice_items.list({"customer": str(subscription.customer)}).data == []


def test_another_interval_begins_a_new_cycle(shop: Shop) -> None:
    subscription = shop.subscription(9900)
    change: Any = {"items": [{"id": item_of(subscription), "price": shop.price(99000, "year")}]}
    after = wire(shop.v1.subscriptions.update(subscription.id, change | {"expand": ["latest_invoice"]}))
    item = after["items"]["data"][0]
    assert 365 * 86400 <= item["current_period_end"] - item["current_period_start"] <= 366 * 86400
    assert after["latest_invoice"]["total"] == pytest.approx(99000 - 9900, abs=5)


def test_a_failed_upgrade_can_be_refused_whole(shop: Shop) -> None:
    subscription = shop.subscription(9900)
    bad = shop.v1.payment_methods.attach("pm_card_chargeCustomerFail", {"customer": str(subscription.customer)})
    change: Any = {
        "items": [{"id": item_of(subscription), "price": shop.price(29900)}],
        "proration_behavior": "always_invoice",
        "default_payment_method": bad.id,
        "payment_behavior": "error_if_incomplete",
    }
    with pytest.raises(stripe.CardError):
        shop.v1.subscriptions.update(subscription.id, change)
    after = shop.v1.subscriptions.retrieve(subscription.id)
    assert after["items"].data[0].price.unit_amount == 9900
    assert after.latest_invoice == subscription.latest_invoice
    assert shop.v1.invoice_items.list({"customer": str(subscription.customer)}).data == []


def test_a_failed_upgrade_otherwise_leaves_it_past_due(shop: Shop) -> None:
    subscription = shop.subscription(9900)
    bad = shop.v1.payment_methods.attach("pm_card_chargeCustomerFail", {"customer": str(subscription.customer)})
    change: Any = {
        "items": [{"id": item_of(subscription), "price": shop.price(29900)}],
        "proration_behavior": "always_invoice",
        "default_payment_method": bad.id,
    }
    after = shop.v1.subscriptions.update(subscription.id, change)
    assert after.status == "past_due"
    assert after.latest_invoice is not None
    shop.v1.invoices.pay(str(after.latest_invoice), {"payment_method": "pm_card_visa"})
    assert shop.v1.subscriptions.retrieve(subscription.id).status == "active"


def test_an_end_is_scheduled_and_taken_back(shop: Shop) -> None:
    subscription = shop.subscription()
    end = subscription["items"].data[0].current_period_end
    scheduled = shop.v1.subscriptions.update(subscription.id, {"cancel_at_period_end": True})
    assert (scheduled.status, scheduled.cancel_at, scheduled.cancel_at_period_end) == ("active", end, True)
    kept = shop.v1.subscriptions.update(subscription.id, {"cancel_at_period_end": False})
    assert (kept.cancel_at, kept.canceled_at, kept.cancel_at_period_end) == (None, None, False)
    by_date = shop.v1.subscriptions.update(subscription.id, {"cancel_at": "max_period_end"})
    assert (by_date.cancel_at, by_date.cancel_at_period_end) == (end, False)


def test_it_ends_at_once(shop: Shop) -> None:
    subscription = shop.subscription()
    last = shop.last_event()
    ended = shop.v1.subscriptions.cancel(subscription.id)
    assert ended.status == "canceled"
    assert ended.ended_at is not None
    assert kinds(shop.events(newer_than=last)) == ["customer.subscription.deleted"]
    with pytest.raises(stripe.InvalidRequestError) as gone:
        shop.v1.subscriptions.cancel(subscription.id)
    assert gone.value.http_status == 404
    listed = shop.v1.subscriptions.list({"customer": str(subscription.customer)})
    assert listed.data == []


@pytest.mark.parametrize(
    ("behavior", "status"), [("pause", "paused"), ("cancel", "canceled"), ("create_invoice", "past_due")]
)
def test_a_trial_that_ends_without_a_card(shop: Shop, behavior: str, status: str) -> None:
    settings = {"end_behavior": {"missing_payment_method": behavior}}
    subscription = shop.subscription(customer=shop.customer().id, trial_period_days=5, trial_settings=settings)
    assert subscription.status == "trialing"
    assert shop.v1.subscriptions.update(subscription.id, {"trial_end": "now"}).status == status


def test_a_trial_that_ends_with_a_card_is_billed(shop: Shop) -> None:
    subscription = shop.subscription(trial_period_days=5)
    after = wire(shop.v1.subscriptions.update(subscription.id, {"trial_end": "now", "expand": ["latest_invoice"]}))
    assert (after["status"], after["latest_invoice"]["amount_paid"]) == ("active", 9900)


def test_a_paused_one_is_resumed(shop: Shop) -> None:
    subscription = shop.subscription()
    assert shop.v1.subscriptions.pause(subscription.id).status == "paused"
    resumed = shop.v1.subscriptions.resume(subscription.id, {"billing_cycle_anchor": {"type": "unchanged"}})
    assert resumed.status == "active"


def test_what_would_change_money_and_is_not_simulated_is_refused(shop: Shop) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        shop.subscription(billing_cycle_anchor=2_000_000_000)
    assert (refused.value.param, refused.value.code) == ("billing_cycle_anchor", "parameter_not_simulated")


def test_an_invoice_paid_elsewhere(shop: Shop) -> None:
    subscription = shop.subscription(customer=shop.customer().id, payment_behavior="default_incomplete")
    invoice = shop.v1.invoices.pay(str(subscription.latest_invoice), {"paid_out_of_band": True})
    assert (invoice.status, invoice.amount_paid_off_stripe) == ("paid", 9900)
    (payment,) = shop.v1.invoice_payments.list({"invoice": str(subscription.latest_invoice)}).data
    assert payment.status == "canceled"
    assert shop.v1.subscriptions.retrieve(subscription.id).status == "active"


def test_a_paid_invoice_is_not_paid_again(shop: Shop) -> None:
    subscription = shop.subscription()
    with pytest.raises(stripe.InvalidRequestError, match="already paid"):
        shop.v1.invoices.pay(str(subscription.latest_invoice))
    with pytest.raises(stripe.InvalidRequestError):
        shop.v1.invoices.void_invoice(str(subscription.latest_invoice))


def test_invoice_numbers_are_in_a_row(shop: Shop) -> None:
    customer = shop.customer("pm_card_visa")
    numbers = [
        wire(shop.subscription(customer=customer.id, expand=["latest_invoice"]))["latest_invoice"]["number"]
        for _ in range(3)
    ]
    assert [number.rpartition("-")[2] for number in numbers] == ["0001", "0002", "0003"]
