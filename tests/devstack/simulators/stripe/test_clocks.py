"""Time that stands still until it is advanced: renewals, retries, ends and scheduled changes, each at its instant."""

from typing import Any

import httpx
import pytest
import stripe

from tests.devstack.simulators.stripe.months import JANUARY_31, Months, instant
from tests.devstack.simulators.stripe.shop import Shop, kinds, wire

pytestmark = pytest.mark.calendar

DAY = 86400


def test_a_renewal_is_a_draft_for_an_hour(shop: Shop) -> None:
    months = Months(shop)
    end = months.period[1]
    assert end == instant(2027, 2, 28, 12)
    last = shop.last_event()
    months.advance(end)
    assert months.invoices()[0] == ("subscription_cycle", "draft", 9900)
    assert kinds(shop.events(newer_than=last)) == [
        "test_helpers.test_clock.advancing",
        "invoice.upcoming",
        "customer.subscription.updated",
        "invoice.created",
        "test_helpers.test_clock.ready",
    ]
    months.advance(end + 3600)
    assert months.invoices()[0] == ("subscription_cycle", "paid", 9900)
    told = [event for event in shop.events(newer_than=last) if not event["type"].startswith("test_helpers.")]
    assert {event["created"] for event in told} == {end - 7 * DAY, end, end + 3600}


def test_a_year_of_months_does_not_drift(shop: Shop) -> None:
    months = Months(shop)
    months.advance(instant(2028, 3, 5))
    assert months.period == (instant(2028, 2, 29, 12), instant(2028, 3, 31, 12))
    assert [status for _, status, _ in months.invoices()] == ["paid"] * 14


def test_an_unpaid_renewal_is_tried_again_and_then_ends_it(shop: Shop) -> None:
    months = Months(shop)
    bad = shop.v1.payment_methods.attach("pm_card_chargeCustomerFail", {"customer": months.customer})
    shop.v1.customers.update(months.customer, {"invoice_settings": {"default_payment_method": bad.id}})
    end = months.period[1]
    months.advance(end + DAY)
    assert (months.now.status, months.invoices()[0][1]) == ("past_due", "open")
    months.advance(end + 20 * DAY)
    ended = months.now
    assert (ended.status, ended.cancellation_details and ended.cancellation_details.reason) == (
        "canceled",
        "payment_failed",
    )
    assert shop.v1.invoices.list({"subscription": months.id}).data[0].attempt_count == 4


def test_a_wanted_end_comes_without_another_invoice(shop: Shop) -> None:
    months = Months(shop)
    end = months.period[1]
    shop.v1.subscriptions.update(months.id, {"cancel_at_period_end": True})
    months.advance(end + DAY)
    assert (months.now.status, months.now.ended_at) == ("canceled", end)
    assert len(months.invoices()) == 1


@pytest.mark.parametrize(("amount", "interval"), [(2900, "month"), (29000, "year")])
def test_a_scheduled_price_begins_with_the_next_period(shop: Shop, amount: int, interval: str) -> None:
    months = Months(shop)
    end = months.period[1]
    schedule = months.schedule(shop.price(amount, interval), interval)
    months.advance(end - 1)
    assert months.now["items"].data[0].price.unit_amount == 9900
    months.advance(end + 2 * 3600)
    assert months.now["items"].data[0].price.unit_amount == amount
    assert months.invoices()[0] == ("subscription_cycle", "paid", amount)
    assert months.period == (end, instant(2027, 3, 31, 12) if interval == "month" else instant(2028, 2, 28, 12))
    assert shop.v1.customers.retrieve(months.customer).balance == 0
    months.advance(months.period[1] + 2 * 3600)
    assert (months.now.schedule, shop.v1.subscription_schedules.retrieve(schedule).status) == (None, "released")
    assert months.invoices()[0] == ("subscription_cycle", "paid", amount)


def test_a_pending_update_expires_after_23_hours_and_the_month_goes_on(shop: Shop) -> None:
    months = Months(shop)
    bad = shop.v1.payment_methods.attach("pm_card_chargeCustomerFail", {"customer": months.customer})
    shop.v1.subscriptions.update(months.id, {"default_payment_method": bad.id})
    change: Any = {
        "items": [{"id": months.now["items"].data[0].id, "price": shop.price(29900)}],
        "payment_behavior": "pending_if_incomplete",
        "proration_behavior": "always_invoice",
    }
    held = shop.v1.subscriptions.update(months.id, change)
    assert held.pending_update is not None
    assert held.pending_update.expires_at == JANUARY_31 + 23 * 3600
    months.advance(JANUARY_31 + DAY)
    assert (months.now.pending_update, months.now.status) == (None, "active")
    assert [status for _, status, _ in months.invoices()] == ["void", "paid"]


def test_waiting_prorations_come_with_the_renewal(shop: Shop) -> None:
    months = Months(shop)
    months.advance(JANUARY_31 + 14 * DAY)
    change: Any = {"items": [{"id": months.now["items"].data[0].id, "price": shop.price(29900)}]}
    shop.v1.subscriptions.update(months.id, change)
    months.advance(months.period[1] + 3600)
    assert months.invoices()[0] == ("subscription_cycle", "paid", 29900 + 10000)


def test_a_customers_card_is_changed_from_outside(shop: Shop, stripe_simulator: Any) -> None:
    subscription = shop.subscription()
    path = f"{stripe_simulator.url}/_sim/customers/{subscription.customer}"
    assert httpx.post(f"{path}/card", json={"payment_method": "pm_card_chargeCustomerFail"}).is_success
    assert httpx.post(f"{path}/card", json={"payment_method": "pm_card_nonsense"}).status_code == 400
    httpx.post(f"{path}/test_clock", json={"after_period": 7200})
    assert shop.v1.subscriptions.retrieve(subscription.id).status == "past_due"


def test_a_clock_only_goes_forward(shop: Shop) -> None:
    months = Months(shop)
    with pytest.raises(stripe.InvalidRequestError, match="later time"):
        months.advance(JANUARY_31)


def test_whoever_has_no_clock_lives_in_real_time(shop: Shop) -> None:
    subscription = shop.subscription()
    Months(shop).advance(instant(2030, 1, 1))
    assert shop.v1.subscriptions.retrieve(subscription.id).latest_invoice == subscription.latest_invoice


def test_a_customer_of_the_real_time_is_adopted_by_a_clock(shop: Shop, stripe_simulator: Any) -> None:
    subscription = shop.subscription()
    path = f"{stripe_simulator.url}/_sim/customers"
    clock = httpx.post(f"{path}/{subscription.customer}/test_clock", json={}).json()
    assert httpx.post(f"{path}/{subscription.customer}/test_clock", json={}).json()["id"] == clock["id"]
    assert httpx.post(f"{path}/cus_nobody/test_clock", json={}).status_code == 404
    assert httpx.post(f"{path}/{shop.customer().id}/test_clock", json={"after_period": 1}).status_code == 400
    end = subscription["items"].data[0].current_period_end
    moved = httpx.post(f"{path}/{subscription.customer}/test_clock", json={"after_period": 3600}).json()
    assert (moved["id"], moved["frozen_time"]) == (clock["id"], end + 3600)
    invoice = wire(shop.v1.subscriptions.retrieve(subscription.id, {"expand": ["latest_invoice"]}))["latest_invoice"]
    assert (invoice["billing_reason"], invoice["status"], invoice["created"]) == ("subscription_cycle", "paid", end)


def test_a_first_payment_that_never_comes_ends_the_purchase(shop: Shop) -> None:
    months = Months(shop, card="pm_card_chargeCustomerFail")
    assert months.now.status == "incomplete"
    months.advance(JANUARY_31 + 23 * 3600)
    assert (months.now.status, [status for _, status, _ in months.invoices()]) == ("incomplete_expired", ["void"])


def test_a_trial_is_told_before_it_ends_and_then_billed(shop: Shop) -> None:
    months = Months(shop, trial_period_days=14)
    last = shop.last_event()
    months.advance(JANUARY_31 + 11 * DAY - 1)
    assert "customer.subscription.trial_will_end" not in kinds(shop.events(newer_than=last))
    months.advance(JANUARY_31 + 15 * DAY)
    told = [event for event in shop.events(newer_than=last) if event["type"] == "customer.subscription.trial_will_end"]
    assert [event["created"] for event in told] == [JANUARY_31 + 11 * DAY]
    assert (months.now.status, months.invoices()[0]) == ("active", ("subscription_cycle", "paid", 9900))
    assert months.period == (JANUARY_31 + 14 * DAY, instant(2027, 3, 14, 12))


def test_the_next_invoice_is_told_a_week_before_and_leaves_nothing_behind(shop: Shop) -> None:
    months = Months(shop)
    last = shop.last_event()
    months.advance(months.period[1] - 7 * DAY)
    (coming,) = (event for event in shop.events(newer_than=last) if event["type"] == "invoice.upcoming")
    assert (coming["data"]["object"]["total"], "id" in coming["data"]["object"]) == (9900, False)
    assert len(months.invoices()) == 1


@pytest.mark.parametrize(
    ("after", "status", "statuses"),
    [
        ("cancel", "canceled", ["open", "paid"]),
        ("unpaid", "unpaid", ["draft", "open", "paid"]),
        ("past_due", "past_due", ["open", "open", "paid"]),
    ],
)
def test_the_account_says_when_a_payment_is_given_up(shop: Shop, after: str, status: str, statuses: list[str]) -> None:
    settings = f"{shop.simulator.url}/_sim/account"
    shop.http.post(settings, json={"retries": [1, 2], "after": after}).raise_for_status()
    try:
        months = Months(shop)
        bad = shop.v1.payment_methods.attach("pm_card_chargeCustomerFail", {"customer": months.customer})
        shop.v1.customers.update(months.customer, {"invoice_settings": {"default_payment_method": bad.id}})
        end = months.period[1]
        months.advance(end + 3600 + 3 * DAY)
        assert shop.v1.invoices.list({"subscription": months.id}).data[0].attempt_count == 3
        months.advance(end + 32 * DAY)
        assert (months.now.status, [one for _, one, _ in months.invoices()]) == (status, statuses)
    finally:
        shop.http.post(settings, json={}).raise_for_status()


def test_the_rest_is_credited_where_that_is_asked_for(shop: Shop) -> None:
    months = Months(shop, begins=instant(2027, 4, 1))
    months.advance(instant(2027, 4, 16))
    shop.v1.subscriptions.cancel(months.id, {"prorate": True, "invoice_now": True})
    assert months.now.status == "canceled"
    assert months.invoices()[0] == ("subscription_update", "paid", -4950)
    assert shop.v1.customers.retrieve(months.customer).balance == -4950


def test_the_end_is_previewed_and_changes_nothing(shop: Shop) -> None:
    months = Months(shop, begins=instant(2027, 4, 1))
    months.advance(instant(2027, 4, 16))
    details: Any = {"cancel_now": True}
    seen = shop.v1.invoices.create_preview({"subscription": months.id, "subscription_details": details})
    assert (seen.total, months.now.status, len(months.invoices())) == (-4950, "active", 1)
    details |= {"proration_behavior": "none"}
    with pytest.raises(stripe.InvalidRequestError) as nothing:
        shop.v1.invoices.create_preview({"subscription": months.id, "subscription_details": details})
    assert nothing.value.code == "invoice_upcoming_none"


def test_outside_of_a_devstack_time_is_told_and_cannot_be_moved(shop: Shop) -> None:
    address = f"{shop.simulator.url}/_sim/time"
    now = httpx.get(address).json()["now"]
    refused = httpx.post(address, json={"to": now + 24 * 3600})
    assert (refused.status_code, refused.json().keys()) == (403, {"detail"})
    assert httpx.get(address).json()["now"] - now < 3600
