"""The customer's balance and credit notes: where money goes that is not charged, or comes back."""

from typing import Any

import pytest
from stripe import InvalidRequestError

from tests.devstack.simulators.stripe.shop import Shop, kinds, wire


def balance(shop: Shop, customer: str) -> int:
    return shop.v1.customers.retrieve(customer).balance or 0


def entries(shop: Shop, customer: str) -> list[tuple[str, int]]:
    """Oldest first."""
    found = shop.v1.customers.balance_transactions.list(customer).data
    return [(entry.type, entry.amount) for entry in reversed(found)]


def one_off(shop: Shop, customer: str, amount: int, currency: str = "usd") -> dict[str, Any]:
    """An open invoice; or a paid one, where nothing is due."""
    shop.v1.invoice_items.create({"customer": customer, "amount": amount, "currency": currency})
    wanted: Any = {"customer": customer, "currency": currency, "pending_invoice_items_behavior": "include"}
    return wire(shop.v1.invoices.finalize_invoice(shop.v1.invoices.create(wanted).id))


def paid(shop: Shop, customer: str, amount: int) -> dict[str, Any]:
    return wire(shop.v1.invoices.pay(one_off(shop, customer, amount)["id"]))


def test_an_invoice_too_small_to_charge_stays_on_the_balance(shop: Shop) -> None:
    customer = shop.customer("pm_card_visa").id
    invoice = one_off(shop, customer, 49)
    assert (invoice["status"], invoice["amount_due"], invoice["ending_balance"]) == ("paid", 0, 49)
    assert entries(shop, customer) == [("invoice_too_small", 49)]
    following = paid(shop, customer, 1000)
    assert (following["starting_balance"], following["amount_paid"]) == (49, 1049)
    assert balance(shop, customer) == 0


@pytest.mark.parametrize(("currency", "least"), [("usd", 50), ("eur", 50), ("gbp", 30), ("jpy", 50), ("kwd", 10)])
def test_each_currency_has_a_least_charge(shop: Shop, currency: str, least: int) -> None:
    invoice = one_off(shop, shop.customer("pm_card_visa").id, least, currency)
    assert (invoice["status"], invoice["amount_due"]) == ("open", least)


def test_an_amount_finer_than_a_card_is_refused(shop: Shop) -> None:
    product = shop.v1.products.create({"name": "Plan"}).id
    with pytest.raises(InvalidRequestError, match="must be 0"):
        shop.v1.prices.create({"product": product, "currency": "kwd", "unit_amount": 1005})


def test_voiding_gives_the_balance_back(shop: Shop) -> None:
    customer = shop.customer("pm_card_visa").id
    shop.v1.customers.balance_transactions.create(customer, {"amount": -300, "currency": "usd"})
    invoice = one_off(shop, customer, 1000)
    assert (invoice["amount_due"], balance(shop, customer)) == (700, 0)
    shop.v1.invoices.void_invoice(invoice["id"])
    assert entries(shop, customer) == [
        ("adjustment", -300),
        ("applied_to_invoice", 300),
        ("unapplied_from_invoice", -300),
    ]
    assert balance(shop, customer) == -300


def test_a_credit_note_is_divided_to_the_cent(shop: Shop) -> None:
    customer = shop.customer("pm_card_visa").id
    invoice = paid(shop, customer, 1000)
    last = shop.last_event()
    wanted: Any = {"invoice": invoice["id"], "amount": 600, "refund_amount": 400, "credit_amount": 150}
    with pytest.raises(InvalidRequestError, match="must equal"):
        shop.v1.credit_notes.create(wanted)
    wanted["out_of_band_amount"] = 50
    note = shop.v1.credit_notes.create(wanted)
    assert (note.type, note.post_payment_amount, note.number) == ("post_payment", 600, f"{invoice['number']}-CN-01")
    assert balance(shop, customer) == -150
    assert [refund.amount for refund in shop.v1.refunds.list().data[:1]] == [400]
    assert kinds(shop.events(newer_than=last))[-2:] == ["credit_note.created", "invoice.updated"]
    with pytest.raises(InvalidRequestError, match="more than what is left"):
        shop.v1.credit_notes.create({"invoice": invoice["id"], "amount": 401, "credit_amount": 401})
    shop.v1.credit_notes.create({"invoice": invoice["id"], "amount": 400, "credit_amount": 400})


def test_a_refund_that_was_made_before_is_linked(shop: Shop) -> None:
    invoice = paid(shop, shop.customer("pm_card_visa").id, 1000)
    charge = shop.v1.charges.list().data[0].id
    refund = shop.v1.refunds.create({"charge": charge, "amount": 300}).id
    note = shop.v1.credit_notes.create({"invoice": invoice["id"], "amount": 300, "refunds": [{"refund": refund}]})
    assert [one.refund for one in note.refunds] == [refund]
    assert len(shop.v1.refunds.list({"charge": charge}).data) == 1


def test_an_open_invoice_is_reduced_and_paid_by_what_is_credited(shop: Shop) -> None:
    customer = shop.customer("pm_card_visa").id
    invoice = one_off(shop, customer, 1000)
    note = shop.v1.credit_notes.create({"invoice": invoice["id"], "amount": 300})
    assert (note.type, note.pre_payment_amount) == ("pre_payment", 300)
    shop.v1.credit_notes.void_credit_note(note.id)
    shop.v1.credit_notes.create({"invoice": invoice["id"], "amount": 400})
    assert wire(shop.v1.invoices.pay(invoice["id"]))["amount_paid"] == 600
    other = one_off(shop, customer, 800)
    shop.v1.credit_notes.create({"invoice": other["id"], "amount": 800})
    settled = shop.v1.invoices.retrieve(other["id"])
    assert (settled.status, settled.amount_paid, settled.amount_remaining) == ("paid", 0, 0)


def test_a_line_is_credited_with_its_discount(shop: Shop) -> None:
    coupon = shop.v1.coupons.create({"percent_off": 50, "duration": "forever"}).id
    made = shop.subscription(1001, discounts=[{"coupon": coupon}], expand=["latest_invoice"])
    invoice = wire(made)["latest_invoice"]
    line: Any = {"type": "invoice_line_item", "invoice_line_item": invoice["lines"]["data"][0]["id"]}
    note = shop.v1.credit_notes.create({"invoice": invoice["id"], "lines": [line], "credit_amount": invoice["total"]})
    assert (note.subtotal, note.discount_amount, note.total) == (1001, 501, 500)
