"""Credit notes: what an invoice is reduced by after it was opened, and where that money goes.

Of an open invoice less is to be paid. Of a paid one the amount is divided, to the last cent, into a refund to the card,
a credit on the customer's balance, and what was given back outside Stripe.
"""

from collections.abc import Sequence
from typing import Final

from stripe.params import (
    CreditNoteCreateParams,
    CreditNoteLineItemListParams,
    CreditNoteListParams,
    CreditNotePreviewParams,
    CreditNoteRetrieveParams,
    CreditNoteUpdateParams,
    CreditNoteVoidCreditNoteParams,
)

from devstack.simulators.journal import Where
from devstack.simulators.stripe import customer_balance, invoices, lifecycle, refunds, tax
from devstack.simulators.stripe.amounts import nearest
from devstack.simulators.stripe.books import (
    Books,
    Document,
    Params,
    a_list,
    apply_changes,
    equal,
    merge_metadata,
    new_id,
    nulls,
)
from devstack.simulators.stripe.errors import invalid, not_simulated, wrong_state
from devstack.simulators.stripe.operations import Operations

OPERATIONS = Operations()
CREDIT_NOTE_ORDER: Final = (
    *refunds.REFUND_ORDER,
    "customer.updated",
    "credit_note.created",
    "invoice.updated",
    "invoice.paid",
    "invoice.payment_succeeded",
)
_NOT_SIMULATED: Final = "shipping_cost email_type effective_at"


@OPERATIONS.post("/v1/credit_notes", CreditNoteCreateParams)
def create(books: Books, params: Params) -> Document:
    not_simulated(params, _NOT_SIMULATED)
    invoice = books.fetch("invoice", params["invoice"], "invoice")
    with books.in_order(CREDIT_NOTE_ORDER):
        note = _draft(books, invoice, params)
        if invoice["status"] == "open":
            _reduce(books, invoice, note)
        else:
            _pay_out(books, invoice, note, params)
        books.emit("credit_note.created", books.keep(note))
    return note


@OPERATIONS.get("/v1/credit_notes/preview", CreditNotePreviewParams)
def preview(books: Books, params: Params) -> Document:
    with books.only_looking():
        seen = create(books, params)
    return seen  # noqa: RET504  # `only_looking` undoes what was made, so it ends first


@OPERATIONS.get("/v1/credit_notes", CreditNoteListParams)
def list_all(books: Books, params: Params) -> Document:
    return books.page("credit_note", "/v1/credit_notes", params, *equal(params, "customer", "invoice"))


@OPERATIONS.get("/v1/credit_notes/{note}", CreditNoteRetrieveParams)
def retrieve(books: Books, _params: Params, note_id: str) -> Document:
    return books.fetch("credit_note", note_id)


@OPERATIONS.get("/v1/credit_notes/{note}/lines", CreditNoteLineItemListParams)
def list_lines(books: Books, _params: Params, note_id: str) -> Document:
    lines: Document = books.fetch("credit_note", note_id)["lines"]
    return lines


@OPERATIONS.post("/v1/credit_notes/{note}", CreditNoteUpdateParams)
def update(books: Books, params: Params, note_id: str) -> Document:
    note = books.fetch("credit_note", note_id)
    previous = apply_changes(note, params, "memo metadata")
    if previous:
        books.emit("credit_note.updated", books.keep(note), previous)
    return note


@OPERATIONS.post("/v1/credit_notes/{note}/void", CreditNoteVoidCreditNoteParams)
def void(books: Books, _params: Params, note_id: str) -> Document:
    """Only one that reduced an invoice which is still open: money that went out does not come back by this."""
    note = books.fetch("credit_note", note_id)
    invoice = books.fetch("invoice", note["invoice"])
    if note["status"] == "void" or note["type"] != "pre_payment" or invoice["status"] != "open":
        raise wrong_state("You can only void a credit note of an open invoice.", "credit_note_not_voidable")
    note |= {"status": "void", "voided_at": books.now()}
    books.emit("credit_note.voided", books.keep(note))
    _set_remaining(books, invoice, -note["total"])
    return note


def _draft(books: Books, invoice: Document, params: Params) -> Document:
    """The note, with its lines and sums, before its money has moved."""
    if invoice["status"] not in ("open", "paid"):
        raise wrong_state("Credit notes are for open and paid invoices.", "invoice_not_open")
    number = len(books.all("credit_note", Where("$.invoice", invoice["id"]))) + 1
    note_id = new_id("cn")
    lines = _lines(invoice, params)
    total = sum(_gross(line) for line in lines) if lines else params.get("amount", 0)
    if "amount" in params and total != params["amount"]:
        raise invalid("The amount differs from the sum of the lines.", param="amount")
    if total <= 0:
        raise invalid("One of amount and lines has to be given, and be more than nothing.", param="amount")
    discounts = [one for line in lines for one in line["discount_amounts"]]
    discount = sum(one["amount"] for one in discounts)
    taxes = tax.together([one for line in lines for one in line["taxes"]]) if lines else _taxes_in(invoice, total)
    taxed = sum(one["amount"] for one in taxes)
    return {
        "id": note_id,
        "object": "credit_note",
        **nulls("customer_account customer_balance_transaction memo reason shipping_cost voided_at"),
        "amount": total,
        "amount_shipping": 0,
        "created": books.now(),
        "currency": invoice["currency"],
        "customer": invoice["customer"],
        "discount_amount": discount,
        "discount_amounts": discounts,
        "effective_at": books.now(),
        "invoice": invoice["id"],
        "lines": a_list(f"/v1/credit_notes/{note_id}/lines", lines),
        "livemode": False,
        "memo": params.get("memo"),
        "metadata": merge_metadata({}, params.get("metadata", {})),
        "number": f"{invoice['number']}-CN-{number:02}",
        "out_of_band_amount": None,
        "pdf": f"{books.public_url}/cn/{note_id}/pdf",
        "post_payment_amount": 0,
        "pre_payment_amount": 0,
        "pretax_credit_amounts": [{**one, "type": "discount"} for one in discounts],
        "reason": params.get("reason"),
        "refunds": [],
        "status": "issued",
        "subtotal": total - taxed + discount,
        "subtotal_excluding_tax": total - taxed + discount,
        "total": total,
        "total_excluding_tax": total - taxed,
        "total_taxes": taxes,
        "type": "pre_payment" if invoice["status"] == "open" else "post_payment",
    }


def _lines(invoice: Document, params: Params) -> list[Document]:
    known = {line["id"]: line for line in invoice["lines"]["data"]}
    return [_line(known, wanted, f"lines[{position}]") for position, wanted in enumerate(params.get("lines") or [])]


def _line(known: dict[str, Document], wanted: Params, at: str) -> Document:
    not_simulated(wanted, "tax_rates tax_amounts unit_amount_decimal")
    if wanted["type"] == "custom_line_item":
        return _line_item(wanted["unit_amount"] * wanted.get("quantity", 1), wanted.get("description"), wanted, [])
    source = known.get(wanted.get("invoice_line_item", ""))
    if source is None:
        raise invalid("No such line on this invoice.", param=f"{at}[invoice_line_item]", code="resource_missing")
    amount = wanted.get("amount", source["amount"] * wanted.get("quantity", source["quantity"]) // source["quantity"])
    if not 0 < amount <= source["amount"]:
        raise invalid("A line is credited with no more than its amount.", param=f"{at}[amount]")
    return _line_item(amount, source["description"], wanted, _discounts(source, amount), _taxes(source, amount))


def _gross(line: Document) -> int:
    return int(line["amount"] - line["discount_amount"] + sum(one["amount"] for one in line["taxes"]))


def _taxes(source: Document, amount: int) -> list[Document]:
    """The part of the line's tax that belongs to the part of it that is credited."""
    return [_share(one, amount, source["amount"]) for one in source["taxes"]]


def _taxes_in(invoice: Document, total: int) -> list[Document]:
    """The tax in a part of the whole invoice."""
    return [_share(one, total, invoice["total"]) for one in invoice["total_taxes"]] if invoice["total"] > 0 else []


def _share(taxed: Document, part: int, whole: int) -> Document:
    return {**taxed, **{name: nearest(taxed[name] * part, whole) for name in ("amount", "taxable_amount")}}


def _discounts(source: Document, amount: int) -> list[Document]:
    """The part of the line's discounts that belongs to the part of it that is credited."""
    return [{**one, "amount": nearest(one["amount"] * amount, source["amount"])} for one in source["discount_amounts"]]


def _line_item(
    amount: int,
    description: str | None,
    wanted: Params,
    discounts: Sequence[Document],
    taxes: Sequence[Document] = (),
) -> Document:
    return {
        "id": new_id("cnli"),
        "object": "credit_note_line_item",
        "amount": amount,
        "description": description,
        "discount_amount": sum(one["amount"] for one in discounts),
        "discount_amounts": list(discounts),
        "invoice_line_item": wanted.get("invoice_line_item"),
        "livemode": False,
        "metadata": merge_metadata({}, wanted.get("metadata", {})),
        "pretax_credit_amounts": [{**one, "type": "discount"} for one in discounts],
        "quantity": wanted.get("quantity"),
        "tax_rates": [],
        "taxes": list(taxes),
        "type": wanted["type"],
        "unit_amount": wanted.get("unit_amount"),
        "unit_amount_decimal": str(wanted["unit_amount"]) if "unit_amount" in wanted else None,
    }


def _reduce(books: Books, invoice: Document, note: Document) -> None:
    if note["total"] > invoice["amount_remaining"]:
        raise _too_much(note, invoice["amount_remaining"])
    note["pre_payment_amount"] = note["total"]
    _set_remaining(books, invoice, note["total"])


def _set_remaining(books: Books, invoice: Document, credited: int) -> None:
    """So much less is to be paid; where nothing remains, the invoice is paid."""
    previous = {name: invoice[name] for name in ("amount_remaining", "pre_payment_credit_notes_amount")}
    invoice["pre_payment_credit_notes_amount"] += credited
    invoice["amount_remaining"] -= credited
    payment = invoices.payment_of(books, invoice["id"])
    if payment:
        books.keep({**payment, "amount_requested": invoice["amount_remaining"]})
        intent = books.fetch("payment_intent", payment["payment"]["payment_intent"])
        if invoice["amount_remaining"]:
            books.keep({**intent, "amount": invoice["amount_remaining"]})
        else:
            invoices.close_payment(books, payment)
    books.emit("invoice.updated", books.keep(invoice), previous)
    if not invoice["amount_remaining"]:
        invoices.settle(books, invoice, nothing_left=True)
        if invoice["_subscription"]:
            lifecycle.paid(books, invoice["_subscription"])


def _pay_out(books: Books, invoice: Document, note: Document, params: Params) -> None:
    left = invoice["total"] - invoice["pre_payment_credit_notes_amount"] - invoice["post_payment_credit_notes_amount"]
    if note["total"] > left:
        raise _too_much(note, left)
    made_before = params.get("refunds") or []
    refund, credit, outside = (params.get(f"{name}_amount", 0) for name in ("refund", "credit", "out_of_band"))
    linked = sum(one.get("amount_refunded") or books.fetch("refund", one["refund"])["amount"] for one in made_before)
    divided = refund + credit + outside + linked
    if divided != note["total"]:
        raise invalid(
            f"The sum of credit amount, refund amount and out of band amount ({divided}) must equal the credit note"
            f" amount ({note['total']}).",
            param="refund_amount",
        )
    note |= {"out_of_band_amount": outside or None, "post_payment_amount": note["total"]}
    note["refunds"] = [_linked(books, one) for one in made_before]
    if refund:
        note["refunds"].append(_refund(books, invoice, refund))
    if credit:
        entry = customer_balance.enter(
            books, note["customer"], -credit, "credit_note", note["currency"],
            credit_note=note["id"], invoice=invoice["id"],
        )  # fmt: skip
        note["customer_balance_transaction"] = entry["id"]
    previous = {"post_payment_credit_notes_amount": invoice["post_payment_credit_notes_amount"]}
    invoice["post_payment_credit_notes_amount"] += note["total"]
    books.emit("invoice.updated", books.keep(invoice), previous)


def _refund(books: Books, invoice: Document, amount: int) -> Document:
    payment = invoices.payment_of(books, invoice["id"])
    intent = books.fetch("payment_intent", payment["payment"]["payment_intent"]) if payment else None
    if intent is None or intent["latest_charge"] is None:
        raise invalid("This invoice was not paid by a charge that could be refunded.", param="refund_amount")
    made = refunds.create(books, {"charge": intent["latest_charge"], "amount": amount})
    return _linked(books, {"refund": made["id"]})


def _linked(books: Books, wanted: Params) -> Document:
    refund = books.fetch("refund", wanted["refund"], "refunds[0][refund]")
    amount = wanted.get("amount_refunded") or refund["amount"]
    return {"amount_refunded": amount, "payment_record_refund": None, "refund": refund["id"], "type": "refund"}


def _too_much(note: Document, left: int) -> Exception:
    return invalid(
        f"The credit note amount ({note['total']}) is more than what is left of the invoice ({left}).", param="amount"
    )
