"""One price in several currencies, and customers who keep to one of them."""

from typing import Any

import pytest
from stripe import InvalidRequestError

from tests.devstack.simulators.stripe.shop import Shop, wire


@pytest.fixture
def price(shop: Shop) -> str:
    product = shop.v1.products.create({"name": "Plan"}).id
    options: Any = {"eur": {"unit_amount": 900}, "jpy": {"unit_amount": 1500}, "kwd": {"unit_amount": 3050}}
    params: Any = {"product": product, "currency": "usd", "unit_amount": 1000, "recurring": {"interval": "month"}}
    params["currency_options"] = options
    return shop.v1.prices.create(params).id


def test_the_options_are_shown_where_they_are_asked_for(shop: Shop, price: str) -> None:
    shown = wire(shop.v1.prices.retrieve(price, {"expand": ["currency_options"]}))
    amounts = {currency: option["unit_amount"] for currency, option in shown["currency_options"].items()}
    assert amounts == {"usd": 1000, "eur": 900, "jpy": 1500, "kwd": 3050}
    assert "currency_options" not in wire(shop.v1.prices.retrieve(price))
    shop.v1.prices.update(price, {"currency_options": {"gbp": {"unit_amount": 800}}})
    shown = wire(shop.v1.prices.retrieve(price, {"expand": ["currency_options"]}))
    assert set(shown["currency_options"]) == {"usd", "eur", "gbp", "jpy", "kwd"}


@pytest.mark.parametrize(("currency", "amount"), [("eur", 900), ("jpy", 1500), ("kwd", 3050), (None, 1000)])
def test_a_purchase_is_in_the_currency_asked_for(shop: Shop, price: str, currency: str | None, amount: int) -> None:
    items = [{"price": price, "quantity": 2}]
    session = shop.session(line_items=items, currency=currency)
    assert (session.currency, session.amount_total) == (currency or "usd", amount * 2)
    shop.pay(session)
    subscription = shop.v1.subscriptions.retrieve(str(shop.v1.checkout.sessions.retrieve(session.id).subscription))
    invoice = shop.v1.invoices.retrieve(str(subscription.latest_invoice))
    assert (subscription.currency, invoice.currency, invoice.total) == (
        currency or "usd",
        currency or "usd",
        amount * 2,
    )
    assert subscription["items"].data[0].price.currency == "usd"


def test_a_customer_stays_in_the_first_currency(shop: Shop, price: str) -> None:
    customer = str(shop.subscription(items=[{"price": price}], currency="eur").customer)
    again = shop.subscription(customer=customer, items=[{"price": price}])
    assert (again.currency, shop.v1.customers.retrieve(customer).currency) == ("eur", "eur")
    with pytest.raises(InvalidRequestError, match="cannot combine currencies"):
        shop.subscription(customer=customer, items=[{"price": price}], currency="jpy")
    with pytest.raises(InvalidRequestError, match="only supports `usd`"):
        shop.subscription(2900, customer=customer)
