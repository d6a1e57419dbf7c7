"""A person pays an open invoice on the page that Stripe hosts for it."""

import re

import httpx
import pytest

from devstack.simulators.stripe import pdf
from tests.devstack.simulators.stripe.shop import Shop, wire

DECLINED = "4000000000000002"
ASKS = "4000000000003220"
VISA = "4242424242424242"


def open_invoice(shop: Shop) -> dict[str, str]:
    """Of a customer without a card, for 10.00."""
    customer = shop.v1.customers.create({"email": "owner@example.com"})
    invoice = shop.v1.invoices.create({"customer": customer.id, "auto_advance": False})
    shop.v1.invoice_items.create(
        {"customer": customer.id, "invoice": str(invoice.id), "amount": 1000, "currency": "usd"}
    )
    return wire(shop.v1.invoices.finalize_invoice(str(invoice.id)))


def pay(shop: Shop, invoice: dict[str, str], card: str) -> httpx.Response:
    page = shop.http.get(invoice["hosted_invoice_url"]).text
    form = re.search(r'<form[^>]*action="([^"]*)"', page)
    assert form is not None, page
    typed = {"card_number": card, "exp": "12/99", "cvc": "123", "name": "An Owner"}
    return shop.http.post(form[1], data=typed)


def status(shop: Shop, invoice: dict[str, str]) -> str:
    return str(shop.v1.invoices.retrieve(invoice["id"]).status)


def test_a_card_pays_it_once(shop: Shop) -> None:
    invoice = open_invoice(shop)
    answer = pay(shop, invoice, VISA)
    assert (answer.status_code, answer.headers["location"]) == (303, invoice["hosted_invoice_url"])
    assert status(shop, invoice) == "paid"
    again = shop.http.post(invoice["hosted_invoice_url"], data={"card_number": VISA, "exp": "12/99", "cvc": "123"})
    assert again.status_code == 303
    assert len(shop.v1.charges.list({"customer": str(wire(shop.v1.invoices.retrieve(invoice["id"]))["customer"])})) == 1


def test_a_declined_card_leaves_it_open_and_says_why(shop: Shop) -> None:
    invoice = open_invoice(shop)
    answer = pay(shop, invoice, DECLINED)
    assert (answer.status_code, status(shop, invoice)) == (402, "open")
    assert "Your card was declined." in answer.text


def test_a_bank_that_asks_is_answered_on_its_page(shop: Shop) -> None:
    invoice = open_invoice(shop)
    asked = pay(shop, invoice, ASKS)
    assert "/3ds/" in asked.headers["location"]
    assert status(shop, invoice) == "open"
    shop.http.post(asked.headers["location"], data={"result": "complete"})
    assert status(shop, invoice) == "paid"


@pytest.mark.parametrize("path", ["/i/in_none", "/i/in_none/pdf"])
def test_an_invoice_that_is_not_there(shop: Shop, path: str) -> None:
    assert shop.http.get(path).status_code == 404


def test_every_place_in_a_pdf_is_where_its_table_says() -> None:
    document = pdf.page(["Invoice (1)", "Übergröße \\ 10 €", "snowman ☃"])
    begin = int(document.rsplit(b"startxref\n", 1)[1].split()[0])
    assert document[begin:].startswith(b"xref\n0 6\n")
    places = [int(line[:10]) for line in document[begin:].splitlines()[3:8]]
    assert [document[place:].split(b" ", 1)[0] for place in places] == [b"1", b"2", b"3", b"4", b"5"]
    assert b"(Invoice \\(1\\)) Tj" in document
    assert "(Übergröße \\\\ 10 €) Tj".encode("cp1252") in document
    assert b"(snowman ?) Tj" in document
