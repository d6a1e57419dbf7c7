"""API operations on invoices, their lines and payments, and with items waiting for an invoice."""

from stripe.params import (
    InvoiceCreateParams,
    InvoiceDeleteParams,
    InvoiceFinalizeInvoiceParams,
    InvoiceItemCreateParams,
    InvoiceItemDeleteParams,
    InvoiceItemListParams,
    InvoiceItemRetrieveParams,
    InvoiceLineItemListParams,
    InvoiceListParams,
    InvoiceMarkUncollectibleParams,
    InvoicePaymentListParams,
    InvoicePaymentRetrieveParams,
    InvoicePayParams,
    InvoiceRetrieveParams,
    InvoiceSendInvoiceParams,
    InvoiceUpdateParams,
    InvoiceVoidInvoiceParams,
)

from devstack.simulators.journal import Where
from devstack.simulators.stripe import (
    catalogue,
    invoices,
    lifecycle,
    pausing,
    payment_methods,
    pending,
    settlement,
    tax,
)
from devstack.simulators.stripe.books import (
    Books,
    Document,
    Params,
    apply_changes,
    equal,
    merge_metadata,
    new_id,
    nulls,
)
from devstack.simulators.stripe.errors import invalid, not_simulated, wrong_state
from devstack.simulators.stripe.lines import line_of_item, pricing
from devstack.simulators.stripe.operations import Operations

OPERATIONS = Operations()


@OPERATIONS.post("/v1/invoices", InvoiceCreateParams)
def create(books: Books, params: Params) -> Document:
    """A draft for whatever is pending, where the request says to include it."""
    not_simulated(params, "from_invoice subscription discounts shipping_cost transfer_data number due_date")
    customer = _customer(books, params)
    currency = params.get("currency") or customer["currency"] or "usd"
    pending: list[Document] = []
    if params.get("pending_invoice_items_behavior") == "include":
        waiting = books.all("invoiceitem", Where("$.customer", customer["id"]), Where("$.currency", currency))
        pending = [item for item in waiting if item["invoice"] is None]
    lines = [line_of_item(books, item) for item in pending]
    members = {"auto_advance": params.get("auto_advance", True), "description": params.get("description")}
    if params.get("collection_method") == "send_invoice":
        due = books.now() + params.get("days_until_due", 30) * 24 * 3600
        members |= {"collection_method": "send_invoice", "due_date": due}
    if members["auto_advance"]:
        members["automatically_finalizes_at"] = books.now() + invoices.DRAFT_FOR
    members["metadata"] = merge_metadata({}, params.get("metadata", {}))
    invoice = invoices.draft(
        books, customer, lines, currency=currency, reason="manual", automatic_tax=tax.wanted(params), **members
    )
    for item in pending:
        books.keep({**item, "invoice": invoice["id"]})
    return invoice


@OPERATIONS.get("/v1/invoices", InvoiceListParams)
def list_all(books: Books, params: Params) -> Document:
    chosen = equal(params, "collection_method", "customer", "status")
    if "subscription" in params:
        chosen.append(Where("$._subscription", params["subscription"]))
    return books.page("invoice", "/v1/invoices", params, *chosen)


@OPERATIONS.get("/v1/invoices/{invoice}", InvoiceRetrieveParams)
def retrieve(books: Books, _params: Params, invoice_id: str) -> Document:
    return books.fetch("invoice", invoice_id)


@OPERATIONS.post("/v1/invoices/{invoice}", InvoiceUpdateParams)
def update(books: Books, params: Params, invoice_id: str) -> Document:
    not_simulated(params, "discounts shipping_cost transfer_data number due_date")
    invoice = books.fetch("invoice", invoice_id)
    previous = apply_changes(invoice, params, "auto_advance default_payment_method description footer metadata")
    if invoice["status"] == "draft" and "auto_advance" in previous:  # it goes on by itself again, or no more
        opens_at = books.now() + invoices.DRAFT_FOR
        invoice["automatically_finalizes_at"] = opens_at if invoice["auto_advance"] else None
    books.keep(invoice)
    if previous:
        books.emit("invoice.updated", invoice, previous)
    return invoice


@OPERATIONS.get("/v1/invoices/{invoice}/lines", InvoiceLineItemListParams)
def list_lines(books: Books, _params: Params, invoice_id: str) -> Document:
    lines: Document = books.fetch("invoice", invoice_id)["lines"]
    return lines


@OPERATIONS.post("/v1/invoices/{invoice}/finalize", InvoiceFinalizeInvoiceParams)
def finalize(books: Books, params: Params, invoice_id: str) -> Document:
    invoice = books.fetch("invoice", invoice_id)
    invoice["auto_advance"] = params.get("auto_advance", invoice["auto_advance"])
    with books.in_order(settlement.PAYMENT_ORDER):
        invoices.finalize(books, invoice)
    return invoice


@OPERATIONS.post("/v1/invoices/{invoice}/pay", InvoicePayParams)
def pay(books: Books, params: Params, invoice_id: str) -> Document:
    not_simulated(params, "forgive mandate source")
    invoice = books.fetch("invoice", invoice_id)
    with books.in_order(settlement.PAYMENT_ORDER):
        if invoice["status"] == "draft":
            invoices.finalize(books, invoice)
        if invoice["status"] not in ("open", "uncollectible"):
            raise wrong_state(f"Invoice is already {invoice['status']}.", f"invoice_{invoice['status']}")
        if params.get("paid_out_of_band"):
            invoices.settle(books, invoice, off_stripe=True)
            if invoice["_subscription"]:
                lifecycle.paid(books, invoice["_subscription"])
        else:
            _collect(books, invoice, params)
    return books.fetch("invoice", invoice_id)


def _collect(books: Books, invoice: Document, params: Params) -> None:
    if "payment_method" in params:
        method: Document | None = payment_methods.usable(books, params["payment_method"])
    else:
        method = settlement.method_for(books, invoice)
    settlement.collect(books, invoice, method, off_session=params.get("off_session", True))


@OPERATIONS.post("/v1/invoices/{invoice}/void", InvoiceVoidInvoiceParams)
def void(books: Books, _params: Params, invoice_id: str) -> Document:
    invoice = books.fetch("invoice", invoice_id)
    if invoice["status"] != "uncollectible":
        invoices.expect(invoice, "open", "void")
    invoices.void(books, invoice)
    pending.give_up(books, invoice)
    return invoice


@OPERATIONS.post("/v1/invoices/{invoice}/mark_uncollectible", InvoiceMarkUncollectibleParams)
def mark_uncollectible(books: Books, _params: Params, invoice_id: str) -> Document:
    invoice = books.fetch("invoice", invoice_id)
    invoices.expect(invoice, "open", "mark as uncollectible")
    return pausing.mark_uncollectible(books, invoice)


@OPERATIONS.post("/v1/invoices/{invoice}/send", InvoiceSendInvoiceParams)
def send(books: Books, _params: Params, invoice_id: str) -> Document:
    invoice = books.fetch("invoice", invoice_id)
    if invoice["status"] == "draft":
        invoices.finalize(books, invoice)
    invoices.expect(invoice, "open", "send")
    books.emit("invoice.sent", invoice)
    return invoice


@OPERATIONS.delete("/v1/invoices/{invoice}", InvoiceDeleteParams)
def delete(books: Books, _params: Params, invoice_id: str) -> Document:
    invoice = books.fetch("invoice", invoice_id)
    invoices.expect(invoice, "draft", "delete")
    books.collection("invoice").remove(invoice_id)
    books.emit("invoice.deleted", invoice)
    return {"id": invoice_id, "object": "invoice", "deleted": True}


@OPERATIONS.get("/v1/invoice_payments", InvoicePaymentListParams)
def list_payments(books: Books, params: Params) -> Document:
    chosen = equal(params, "invoice", "status")
    if "payment" in params:
        chosen.append(Where("$.payment.type", params["payment"]["type"]))
        chosen += [
            Where(f"$.payment.{name}", params["payment"][name])
            for name in ("payment_intent", "payment_record")
            if name in params["payment"]
        ]
    return books.page("invoice_payment", "/v1/invoice_payments", params, *chosen)


@OPERATIONS.get("/v1/invoice_payments/{payment}", InvoicePaymentRetrieveParams)
def retrieve_payment(books: Books, _params: Params, payment_id: str) -> Document:
    return books.fetch("invoice_payment", payment_id)


@OPERATIONS.post("/v1/invoiceitems", InvoiceItemCreateParams)
def create_item(books: Books, params: Params) -> Document:
    not_simulated(params, "discounts subscription tax_rates unit_amount_decimal quantity_decimal")
    customer = _customer(books, params)
    price = _item_price(books, params)
    quantity = params.get("quantity", 1)
    now = books.now()
    item = {
        "id": new_id("ii"),
        "object": "invoiceitem",
        **nulls("customer_account invoice parent"),
        "amount": price["unit_amount"] * quantity,
        "currency": price["currency"],
        "customer": customer["id"],
        "date": now,
        "description": params.get("description"),
        "discountable": params.get("discountable", True),
        "discounts": [],
        "livemode": False,
        "metadata": merge_metadata({}, params.get("metadata", {})),
        "period": params.get("period", {"end": now, "start": now}),
        "pricing": pricing(price),
        "proration": False,
        "quantity": quantity,
        "quantity_decimal": str(quantity),
        "tax_rates": [],
        "test_clock": customer["test_clock"],
    }
    books.emit("invoiceitem.created", books.keep(item))
    if "invoice" in params:
        _add_to_draft(books, item, params["invoice"])
    return item


def _item_price(books: Books, params: Params) -> Document:
    if "pricing" in params:
        return books.fetch("price", params["pricing"].get("price", ""), "pricing[price]")
    if "price_data" in params:
        return catalogue.add_price(books, params["price_data"])
    if "amount" not in params:
        raise invalid("Missing required param: amount.", param="amount", code="parameter_missing")
    product = {"name": params.get("description") or "Item"}
    data = {"currency": params.get("currency", "usd"), "unit_amount": params["amount"], "product_data": product}
    return catalogue.add_price(books, data)


def _add_to_draft(books: Books, item: Document, invoice_id: str) -> None:
    invoice = books.fetch("invoice", invoice_id, "invoice")
    invoices.expect(invoice, "draft", "add items to")
    item["invoice"] = invoice_id
    books.keep(item)
    invoices.fill(books, invoice, [*invoice["lines"]["data"], line_of_item(books, item)])
    books.emit("invoice.updated", books.keep(invoice))


@OPERATIONS.get("/v1/invoiceitems", InvoiceItemListParams)
def list_items(books: Books, params: Params) -> Document:
    page = books.page("invoiceitem", "/v1/invoiceitems", params, *equal(params, "customer", "invoice"))
    if "pending" in params:
        page["data"] = [item for item in page["data"] if (item["invoice"] is None) == params["pending"]]
    return page


@OPERATIONS.get("/v1/invoiceitems/{item}", InvoiceItemRetrieveParams)
def retrieve_item(books: Books, _params: Params, item_id: str) -> Document:
    return books.fetch("invoiceitem", item_id)


@OPERATIONS.delete("/v1/invoiceitems/{item}", InvoiceItemDeleteParams)
def delete_item(books: Books, _params: Params, item_id: str) -> Document:
    item = books.fetch("invoiceitem", item_id)
    if item["invoice"]:
        raise wrong_state("Cannot delete an invoice item that is attached to an invoice.", "invoice_not_editable")
    books.collection("invoiceitem").remove(item_id)
    books.emit("invoiceitem.deleted", item)
    return {"id": item_id, "object": "invoiceitem", "deleted": True}


def _customer(books: Books, params: Params) -> Document:
    if "customer" not in params:
        raise invalid("Missing required param: customer.", param="customer", code="parameter_missing")
    return books.fetch("customer", params["customer"], "customer")
