"""The hosted invoice page: shows an invoice, takes a card for what is open, and gives the PDF."""

from collections.abc import Iterator, Mapping

from litestar import Response, get, post
from litestar.response import Redirect
from litestar.types import ControllerRouterHandler

from devstack.simulators.stripe import invoices, payment_methods, pdf, settlement
from devstack.simulators.stripe.books import Books, Document
from devstack.simulators.stripe.cards import CardForm
from devstack.simulators.stripe.errors import Refused
from devstack.simulators.stripe.lines import money
from devstack.simulators.stripe.pages import AnyRequest, Page, render, typed_form


def routes(books: Books) -> list[ControllerRouterHandler]:
    @get("/i/{invoice_id:str}", status_code=200)
    async def show(invoice_id: str) -> Page:
        found = books.find("invoice", invoice_id)
        return _nothing_there() if found is None else _shown(books, found)

    @post("/i/{invoice_id:str}", status_code=200)
    async def pay(invoice_id: str, request: AnyRequest) -> Page:
        typed = await typed_form(request)
        found = books.find("invoice", invoice_id)
        if found is None:
            return _nothing_there()
        outcome = books.carry_out(lambda: _paid(books, books.fetch("invoice", invoice_id), typed))
        if isinstance(outcome, Refused):
            return _shown(books, books.fetch("invoice", invoice_id), outcome, typed)
        return Redirect(_confirmation(books, outcome) or f"{books.public_url}/i/{invoice_id}", status_code=303)

    @get("/i/{invoice_id:str}/pdf", status_code=200)
    async def download(invoice_id: str) -> Page | Response[bytes]:
        found = books.find("invoice", invoice_id)
        if found is None or found["number"] is None:
            return _nothing_there()
        headers = {"Content-Disposition": f'attachment; filename="Invoice-{found["number"]}.pdf"'}
        return Response(pdf.page([*_printed(found)]), media_type="application/pdf", headers=headers)

    return [show, pay, download]


def _nothing_there() -> Page:
    return render("message", 404, heading="There is no such invoice", text="The link is not complete.")


def _shown(
    books: Books, invoice: Document, refusal: Refused | None = None, typed: Mapping[str, str] | None = None
) -> Page:
    return render(
        "invoice",
        refusal.status if refusal else 200,
        invoice=invoice,
        here=f"{books.public_url}/i/{invoice['id']}",
        confirm=_confirmation(books, invoice),
        message=str(refusal) if refusal else None,
        typed=typed or {},
    )


def _paid(books: Books, invoice: Document, typed: Mapping[str, str]) -> Document:
    """Tries the card as typed, with its owner before the page. A paid invoice stays as it is."""
    if invoice["status"] == "open":
        given = [typed.get(name, "") for name in ("card_number", "exp", "cvc")]
        form = CardForm.typed(given[0], given[1], given[2], payment_methods.today(books))
        with books.in_order(settlement.PAYMENT_ORDER):
            method = payment_methods.make(books, form, {"name": typed.get("name") or None})
            settlement.collect(books, invoice, method, off_session=False)
    return books.fetch("invoice", invoice["id"])


def _confirmation(books: Books, invoice: Document) -> str | None:
    """Where the card's owner agrees to the payment of an open invoice, if the bank wants to hear it."""
    payment = invoices.payment_of(books, invoice["id"])
    if payment is None or settlement.intent_of(books, payment)["status"] != "requires_action":
        return None
    return f"{books.public_url}/3ds/{payment['payment']['payment_intent']}"


def _printed(invoice: Document) -> Iterator[str]:
    currency = invoice["currency"]
    yield f"Invoice {invoice['number']}"
    yield f"{invoice['customer_name'] or ''}  {invoice['customer_email'] or ''}"
    yield ""
    for line in invoice["lines"]["data"]:
        yield f"{line['description']}   {money(line['amount'], currency)}"
    yield ""
    for off in invoice["total_discount_amounts"]:
        yield f"Discount   {money(-off['amount'], currency)}"
    for tax in invoice["total_taxes"]:
        yield f"Tax   {money(tax['amount'], currency)}"
    yield f"Total   {money(invoice['total'], currency)}"
    yield f"Paid   {money(invoice['amount_paid'], currency)}"
    yield f"Due   {money(invoice['amount_remaining'], currency)}"
