"""Tax by the customer's address: on invoices, at checkout, on prorations, and given back with what was taxed."""

from typing import Any

import pytest
from stripe import InvalidRequestError

from tests.devstack.simulators.stripe.months import Months, instant
from tests.devstack.simulators.stripe.shop import Shop, wire

TAXED: Any = {"automatic_tax": {"enabled": True}}


def customer(shop: Shop, country: str, state: str | None = None, **more: Any) -> str:
    address = {"country": country} | ({"state": state} if state else {})
    params: Any = {"email": "t@example.com", "payment_method": "pm_card_visa", "address": address, **more}
    params["invoice_settings"] = {"default_payment_method": "pm_card_visa"}
    return shop.v1.customers.create(params).id


def first_invoice(shop: Shop, owner: str, amount: int = 1000, **more: Any) -> dict[str, Any]:
    made = shop.subscription(amount, customer=owner, expand=["latest_invoice"], **TAXED, **more)
    invoice: dict[str, Any] = wire(made)["latest_invoice"]
    return invoice


@pytest.mark.parametrize(
    ("country", "state", "expected"),
    [("DE", None, 190), ("FR", None, 200), ("GB", None, 200), ("JP", None, 100), ("US", "NY", 89), ("US", "CA", 0)],
)
def test_the_address_decides(shop: Shop, country: str, state: str | None, expected: int) -> None:
    invoice = first_invoice(shop, customer(shop, country, state))
    assert [tax["amount"] for tax in invoice["total_taxes"]] == [expected]
    assert (invoice["subtotal"], invoice["total_excluding_tax"], invoice["total"]) == (1000, 1000, 1000 + expected)
    assert (invoice["status"], invoice["amount_paid"]) == ("paid", 1000 + expected)


@pytest.mark.parametrize(("country", "expected"), [("FR", 0), ("DE", 190)])
def test_a_vat_number_abroad_moves_the_tax_to_the_customer(shop: Shop, country: str, expected: int) -> None:
    owner = customer(shop, country)
    shop.v1.customers.tax_ids.create(owner, {"type": "eu_vat", "value": f"{country}123456789"})
    invoice = first_invoice(shop, owner)
    assert invoice["total_taxes"][0]["amount"] == expected
    assert (invoice["total_taxes"][0]["taxability_reason"] == "reverse_charge") == (expected == 0)
    assert [one["type"] for one in invoice["customer_tax_ids"]] == ["eu_vat"]


def test_a_number_that_is_none_is_refused(shop: Shop) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        shop.v1.customers.tax_ids.create(customer(shop, "FR"), {"type": "eu_vat", "value": "12"})
    assert refused.value.code == "tax_id_invalid"


def test_nothing_is_sold_without_an_address(shop: Shop) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        shop.subscription(**TAXED)
    assert refused.value.code == "customer_tax_location_invalid"
    with pytest.raises(InvalidRequestError, match=r"customer_update\[address\]"):
        shop.session(customer=shop.customer().id, **TAXED)


def test_tax_is_on_what_is_left_after_discounts_and_given_back_by_line(shop: Shop) -> None:
    coupon = shop.v1.coupons.create({"percent_off": 50, "duration": "forever"}).id
    invoice = first_invoice(shop, customer(shop, "DE"), discounts=[{"coupon": coupon}])
    assert (invoice["total_discount_amounts"][0]["amount"], invoice["total"]) == (500, 595)
    line: Any = {"type": "invoice_line_item", "invoice_line_item": invoice["lines"]["data"][0]["id"], "amount": 500}
    note = wire(shop.v1.credit_notes.create({"invoice": invoice["id"], "lines": [line], "refund_amount": 297}))
    assert (note["subtotal"], note["discount_amount"], note["total"]) == (500, 250, 297)
    assert note["total_taxes"][0]["amount"] == 47


def test_checkout_asks_for_the_country_and_taxes_by_it(shop: Shop) -> None:
    owner = shop.customer().id
    session = shop.session(customer=owner, customer_update={"address": "auto"}, **TAXED)
    assert session.automatic_tax.status == "requires_location_inputs"
    assert 'name="country"' in shop.http.get(str(session.url)).text
    assert shop.pay(session).status_code == 400
    assert shop.pay(session, country="de").status_code == 303
    paid = wire(shop.v1.checkout.sessions.retrieve(session.id, {"expand": ["invoice"]}))
    assert (paid["amount_total"], paid["total_details"]["amount_tax"]) == (11781, 1881)
    assert (paid["invoice"]["total"], paid["invoice"]["amount_paid"]) == (11781, 11781)
    kept = wire(shop.v1.customers.retrieve(owner))
    assert kept["address"]["country"] == "DE"
    assert shop.v1.subscriptions.retrieve(str(paid["subscription"])).automatic_tax.enabled


@pytest.mark.calendar
def test_prorations_are_taxed(shop: Shop) -> None:
    months = Months(shop, begins=instant(2027, 4, 1), amount=1000)
    shop.v1.customers.update(months.customer, {"address": {"country": "DE"}})
    shop.v1.subscriptions.update(months.id, TAXED)
    months.advance(instant(2027, 4, 16))
    item = months.now["items"].data[0].id
    change: Any = {"items": [{"id": item, "price": shop.price(3000)}], "proration_behavior": "always_invoice"}
    shop.v1.subscriptions.update(months.id, change)
    assert months.invoices()[0] == ("subscription_update", "paid", -500 - 95 + 1500 + 285)


@pytest.mark.calendar
def test_a_renewal_without_an_address_stays_a_draft_and_says_so(shop: Shop) -> None:
    months = Months(shop)
    shop.v1.subscriptions.update(months.id, TAXED)
    months.advance(months.period[1] + 7200)
    invoice = shop.v1.invoices.list({"subscription": months.id}).data[0]
    assert (invoice.status, invoice.last_finalization_error and invoice.last_finalization_error.code) == (
        "draft",
        "customer_tax_location_invalid",
    )
    assert "invoice.finalization_failed" in {event["type"] for event in shop.events()}
