"""Coupons: how long they count, who may use a promotion code, and how they are spread over lines and prorations."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stripe import InvalidRequestError

from devstack.simulators.stripe.amounts import nearest, spread
from tests.devstack.simulators.stripe.months import Months, instant
from tests.devstack.simulators.stripe.shop import Shop, kinds, wire

pytestmark = pytest.mark.calendar

APRIL_1 = instant(2027, 4, 1)
DAY = 86400


def totals(months: Months) -> list[int]:
    """Oldest first."""
    return [total for _, _, total in reversed(months.invoices())]


def renew(months: Months) -> None:
    months.advance(months.period[1] + 3600)


def test_a_repeating_coupon_ends(shop: Shop) -> None:
    coupon = shop.v1.coupons.create({"percent_off": 25, "duration": "repeating", "duration_in_months": 3}).id
    months = Months(shop, amount=2900, discounts=[{"coupon": coupon}])
    for _ in range(4):
        renew(months)
    assert totals(months) == [2175, 2175, 2175, 2900, 2900]
    assert months.now.discounts == []


def test_a_coupon_for_once_given_in_mid_cycle_is_used_up_by_the_next_renewal(shop: Shop) -> None:
    months = Months(shop, amount=2900)
    coupon = shop.v1.coupons.create({"percent_off": 100, "duration": "once"}).id
    shop.v1.subscriptions.update(months.id, {"discounts": [{"coupon": coupon}]})
    last = shop.last_event()
    renew(months)
    renew(months)
    assert totals(months) == [2900, 0, 2900]
    assert kinds(shop.events(newer_than=last)).count("customer.discount.deleted") == 1


def test_a_trial_uses_up_no_month_of_a_coupon(shop: Shop) -> None:
    coupon = shop.v1.coupons.create({"percent_off": 50, "duration": "once"}).id
    months = Months(shop, amount=2900, discounts=[{"coupon": coupon}], trial_period_days=7)
    shop.v1.subscriptions.update(months.id, {"trial_end": "now"})
    renew(months)
    assert totals(months) == [0, 1450, 2900]


@pytest.mark.parametrize(
    ("restrictions", "told"),
    [
        ({"minimum_amount": 5000, "minimum_amount_currency": "usd"}, "at least $50.00"),
        ({"first_time_transaction": True}, "prior transactions"),
    ],
)
def test_a_code_with_restrictions_is_refused(shop: Shop, restrictions: Any, told: str) -> None:
    customer = str(shop.subscription(2900).customer)
    coupon = shop.v1.coupons.create({"percent_off": 50}).id
    promotion: Any = {"promotion": {"type": "coupon", "coupon": coupon}, "restrictions": restrictions}
    code = shop.v1.promotion_codes.create(promotion).id
    with pytest.raises(InvalidRequestError) as refused:
        shop.subscription(2900, customer=customer, discounts=[{"promotion_code": code}])
    assert told in str(refused.value.user_message)
    assert refused.value.param == "discounts[0][promotion_code]"


def test_a_code_is_used_as_often_as_it_may_be(shop: Shop) -> None:
    coupon = shop.v1.coupons.create({"percent_off": 50}).id
    promotion: Any = {"promotion": {"type": "coupon", "coupon": coupon}, "max_redemptions": 1}
    code = shop.v1.promotion_codes.create(promotion).id
    shop.subscription(discounts=[{"promotion_code": code}])
    with pytest.raises(InvalidRequestError, match="used up"):
        shop.subscription(discounts=[{"promotion_code": code}])


def test_a_coupon_of_another_currency_is_refused(shop: Shop) -> None:
    coupon = shop.v1.coupons.create({"amount_off": 500, "currency": "eur"}).id
    with pytest.raises(InvalidRequestError, match="currency"):
        shop.subscription(discounts=[{"coupon": coupon}])


def test_an_amount_is_spread_over_the_lines_with_the_rest_on_the_last(shop: Shop) -> None:
    coupon = shop.v1.coupons.create({"amount_off": 500, "currency": "usd", "duration": "forever"}).id
    items = [{"price": shop.price(1000)}, {"price": shop.price(2000)}]
    made = shop.subscription(items=items, discounts=[{"coupon": coupon}], expand=["latest_invoice"])
    invoice = wire(made)["latest_invoice"]
    assert invoice["total"] == 2500
    assert [line["discount_amounts"][0]["amount"] for line in invoice["lines"]["data"]] == [166, 334]


def change(months: Months, amount: int, behavior: str, **more: Any) -> list[int]:
    """The amounts of the prorations that a change makes."""
    known = {item.id for item in months.shop.v1.invoice_items.list({"customer": months.customer}).data}
    item = months.now["items"].data[0].id
    wanted: Any = {"items": [{"id": item, "price": months.shop.price(amount)}], "proration_behavior": behavior, **more}
    months.shop.v1.subscriptions.update(months.id, wanted)
    found = months.shop.v1.invoice_items.list({"customer": months.customer}).data
    return sorted(item.amount for item in found if item.id not in known)


@pytest.mark.parametrize(("mode", "expected"), [("classic", [-667, 333]), ("flexible", [-333, 333])])
def test_what_is_credited_after_a_change_that_was_not_prorated(shop: Shop, mode: str, expected: list[int]) -> None:
    """10.00 on April 1, 20.00 without prorations on the 11th, back on the 21st."""
    months = Months(shop, begins=APRIL_1, amount=1000, billing_mode={"type": mode})
    assert months.now.billing_mode.type == mode
    months.advance(APRIL_1 + 10 * DAY)
    assert change(months, 2000, "none") == []
    months.advance(APRIL_1 + 20 * DAY)
    assert change(months, 1000, "create_prorations") == expected


def test_prorations_are_dated_and_rounded_as_they_were_recorded(shop: Shop) -> None:
    """A period of 31 days from 1596749288, changed from 10.00 to 32.52 at 1598982148."""
    months = Months(shop, begins=1596749288, amount=1000)
    assert months.period == (1596749288, 1599427688)
    assert change(months, 3252, "create_prorations", proration_date=1598982148) == [-166, 541]
    item = months.shop.v1.invoice_items.list({"customer": months.customer}).data[0]
    assert (item.period.start, item.period.end) == (1598982148, 1599427688)


def test_a_date_outside_the_period_is_refused(shop: Shop) -> None:
    months = Months(shop)
    with pytest.raises(InvalidRequestError) as refused:
        change(months, 2900, "create_prorations", proration_date=months.period[0] - 1)
    assert refused.value.param == "proration_date"


@pytest.mark.parametrize(("duration", "mode", "expected"), [
    ("forever", "flexible", [-500, 1000]),
    ("forever", "classic", [-500, 1000]),
    ("once", "flexible", [-500, 2000]),
    ("once", "classic", [-1000, 2000]),
])  # fmt: skip
def test_prorations_are_discounted(shop: Shop, duration: Any, mode: str, expected: list[int]) -> None:
    """Half off 20.00, then 40.00 after half of April: what was paid is given back, not the list price."""
    coupon = shop.v1.coupons.create({"percent_off": 50, "duration": duration}).id
    months = Months(shop, begins=APRIL_1, amount=2000, billing_mode={"type": mode}, discounts=[{"coupon": coupon}])
    months.advance(APRIL_1 + 15 * DAY)
    assert change(months, 4000, "create_prorations") == expected


@given(st.integers(0, 10**9), st.lists(st.integers(0, 10**6), min_size=1, max_size=9))
def test_shares_add_up(amount: int, weights: list[int]) -> None:
    parts = spread(amount, weights)
    assert sum(parts) == (amount if sum(weights) else 0)
    assert all(part >= 0 for part in parts)
    assert all(part == 0 for part, weight in zip(parts, weights, strict=True) if weight == 0)


@pytest.mark.parametrize(
    ("numerator", "denominator", "expected"), [(9, 2, 4), (-5, 2, -3), (7, 3, 2), (8, 3, 3), (-7, 3, -2), (-8, 3, -3)]
)
def test_exact_halves_go_down(numerator: int, denominator: int, expected: int) -> None:
    assert nearest(numerator, denominator) == expected


def test_a_promotion_code_is_found_whatever_its_case(shop: Shop) -> None:
    coupon = shop.v1.coupons.create({"percent_off": 25, "duration": "once"}).id
    made = shop.v1.promotion_codes.create({"promotion": {"type": "coupon", "coupon": coupon}, "code": "Spring2027"})
    assert [one.id for one in shop.v1.promotion_codes.list({"code": "sPRING2027"}).data] == [made.id]
    assert shop.v1.promotion_codes.list({"code": "spring202_"}).data == []
