"""A change that counts once it is paid, one that waits for the end of its period, and a look at what either costs."""

from typing import Any

import pytest
import stripe

from tests.devstack.simulators.stripe.shop import Shop, kinds, wire

ASKS_OWNER = "pm_card_threeDSecure2Required"


def upgrade(shop: Shop, subscription: stripe.Subscription, price: str | None = None) -> stripe.Subscription:
    change: Any = {
        "items": [{"id": subscription["items"].data[0].id, "price": price or shop.price(29900)}],
        "payment_behavior": "pending_if_incomplete",
        "proration_behavior": "always_invoice",
    }
    return shop.v1.subscriptions.update(subscription.id, change)


_CATALOGUE = ("product.", "price.")  # made with the first change that needs them


def with_a_bad_card(shop: Shop) -> stripe.Subscription:
    subscription = shop.subscription(9900)
    bad = shop.v1.payment_methods.attach("pm_card_chargeCustomerFail", {"customer": str(subscription.customer)})
    return shop.v1.subscriptions.update(subscription.id, {"default_payment_method": bad.id})


def amount(subscription: stripe.Subscription) -> int | None:
    unit_amount: int | None = subscription["items"].data[0].price.unit_amount
    return unit_amount


def test_what_is_paid_at_once_counts_at_once(shop: Shop) -> None:
    subscription = shop.subscription(9900)
    last = shop.last_event()
    after = upgrade(shop, subscription)
    assert (amount(after), after.pending_update) == (29900, None)
    assert shop.v1.invoices.retrieve(str(after.latest_invoice)).status == "paid"
    told = [kind for kind in kinds(shop.events(newer_than=last)) if not kind.startswith(_CATALOGUE)]
    assert told[0] == "invoiceitem.created"
    assert "invoice.paid" in told
    assert "customer.subscription.updated" in told[-2:]


def test_a_decline_changes_nothing_but_what_is_pending(shop: Shop) -> None:
    subscription = with_a_bad_card(shop)
    after = upgrade(shop, subscription)
    assert (amount(after), after.status) == (9900, "active")
    assert after.pending_update is not None
    assert [item.price.unit_amount for item in after.pending_update.subscription_items or []] == [29900]
    invoice = shop.v1.invoices.retrieve(str(after.latest_invoice))
    assert (invoice.status, invoice.next_payment_attempt) == ("open", None)


def test_a_voided_invoice_ends_the_pending_update(shop: Shop) -> None:
    subscription = upgrade(shop, with_a_bad_card(shop))
    last = shop.last_event()
    shop.v1.invoices.void_invoice(str(subscription.latest_invoice))
    after = shop.v1.subscriptions.retrieve(subscription.id)
    assert (amount(after), after.status, after.pending_update) == (9900, "active", None)
    assert "customer.subscription.pending_update_expired" in kinds(shop.events(newer_than=last))


def test_its_owner_agrees_and_the_update_counts(shop: Shop) -> None:
    subscription = shop.subscription(9900, customer=shop.customer(ASKS_OWNER).id)
    shop.confirm_latest(subscription.id)
    assert amount(upgrade(shop, subscription)) == 9900
    last = shop.last_event()
    shop.confirm_latest(subscription.id)
    after = shop.v1.subscriptions.retrieve(subscription.id)
    assert (amount(after), after.pending_update) == (29900, None)
    assert "customer.subscription.pending_update_applied" in kinds(shop.events(newer_than=last))


def test_another_card_pays_for_it(shop: Shop) -> None:
    subscription = upgrade(shop, with_a_bad_card(shop))
    shop.v1.invoices.pay(str(subscription.latest_invoice), {"payment_method": "pm_card_visa"})
    assert amount(shop.v1.subscriptions.retrieve(subscription.id)) == 29900


def test_a_second_update_takes_the_place_of_the_first(shop: Shop) -> None:
    subscription = upgrade(shop, with_a_bad_card(shop))
    first = str(subscription.latest_invoice)
    after = upgrade(shop, subscription, shop.price(49900))
    assert shop.v1.invoices.retrieve(first).status == "void"
    assert after.latest_invoice != first
    assert after.pending_update is not None
    assert [item.price.unit_amount for item in after.pending_update.subscription_items or []] == [49900]


def test_another_interval_waits_for_its_payment_too(shop: Shop) -> None:
    subscription = with_a_bad_card(shop)
    before = subscription["items"].data[0]
    held = upgrade(shop, subscription, shop.price(99000, "year"))
    assert held["items"].data[0].current_period_end == before.current_period_end
    assert shop.v1.invoices.retrieve(str(held.latest_invoice)).total == pytest.approx(99000 - 9900, abs=5)
    shop.v1.invoices.pay(str(held.latest_invoice), {"payment_method": "pm_card_visa"})
    item = shop.v1.subscriptions.retrieve(subscription.id)["items"].data[0]
    assert 365 * 86400 <= item.current_period_end - item.current_period_start <= 366 * 86400


def test_what_cannot_wait_is_refused(shop: Shop) -> None:
    subscription = shop.subscription()
    with pytest.raises(stripe.InvalidRequestError) as refused:
        shop.v1.subscriptions.update(
            subscription.id, {"payment_behavior": "pending_if_incomplete", "metadata": {"a": "b"}}
        )
    assert refused.value.param == "metadata"


def test_a_preview_says_what_the_change_will_cost_and_leaves_nothing(shop: Shop) -> None:
    subscription = shop.subscription(9900)
    item = subscription["items"].data[0].id
    details: Any = {"items": [{"id": item, "price": shop.price(29900)}], "proration_behavior": "always_invoice"}
    last = shop.last_event()
    preview = shop.v1.invoices.create_preview({"subscription": subscription.id, "subscription_details": details})
    assert preview.id.startswith("upcoming_in_")
    assert preview.amount_due == pytest.approx(20000, abs=5)
    assert shop.events(newer_than=last) == []
    assert shop.v1.invoices.list({"subscription": subscription.id}).data[0].id == subscription.latest_invoice
    assert amount(shop.v1.subscriptions.retrieve(subscription.id)) == 9900
    charged = shop.v1.invoices.retrieve(str(upgrade(shop, subscription).latest_invoice))
    assert charged.amount_paid == pytest.approx(preview.amount_due, abs=5)


def test_without_a_change_it_shows_the_next_renewal(shop: Shop) -> None:
    subscription = shop.subscription(9900)
    preview = wire(shop.v1.invoices.create_preview({"subscription": subscription.id}))
    assert (preview["billing_reason"], preview["amount_due"]) == ("subscription_cycle", 9900)
    assert preview["lines"]["data"][0]["period"]["start"] == subscription["items"].data[0].current_period_end


def test_a_scheduled_subscription_is_ended_by_its_schedule_alone(shop: Shop) -> None:
    subscription = shop.subscription()
    schedule = shop.v1.subscription_schedules.create({"from_subscription": subscription.id})
    with pytest.raises(stripe.InvalidRequestError, match="managed by the subscription schedule"):
        shop.v1.subscriptions.update(subscription.id, {"cancel_at_period_end": True})
    with pytest.raises(stripe.InvalidRequestError, match="already attached"):
        shop.v1.subscription_schedules.create({"from_subscription": subscription.id})
    released = shop.v1.subscription_schedules.release(schedule.id)
    assert (released.status, released.subscription, released.released_subscription) == (
        "released",
        None,
        subscription.id,
    )
    assert shop.v1.subscriptions.update(subscription.id, {"cancel_at_period_end": True}).cancel_at is not None
    with pytest.raises(stripe.InvalidRequestError, match="released"):
        shop.v1.subscription_schedules.release(schedule.id)


@pytest.mark.parametrize(
    ("phase", "parameter"),
    [
        ({"trial": True}, "trial"),
        ({"start_date": 1}, "phases[1][start_date]"),
        ({"duration": None}, "phases[1][end_date]"),
    ],
)
def test_phases_that_are_not_simulated_are_refused(shop: Shop, phase: dict[str, Any], parameter: str) -> None:
    subscription = shop.subscription()
    schedule = shop.v1.subscription_schedules.create({"from_subscription": subscription.id})
    first = schedule.phases[0]
    now = {"items": [{"price": first["items"][0].price}], "start_date": first.start_date, "end_date": first.end_date}
    later = {"items": [{"price": shop.price(2900)}], "duration": {"interval": "month"}} | phase
    phases: Any = [now, {name: value for name, value in later.items() if value is not None}]
    with pytest.raises(stripe.InvalidRequestError) as refused:
        shop.v1.subscription_schedules.update(schedule.id, {"phases": phases})
    assert refused.value.param == parameter
