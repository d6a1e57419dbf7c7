"""A customer's balance: what is owed to the customer (negative) or by the customer, and each entry that moved it.

The next invoice takes it into account. What an invoice uses of it comes back when the invoice is voided.
"""

from typing import Final

from stripe.params import (
    CustomerBalanceTransactionCreateParams,
    CustomerBalanceTransactionListParams,
    CustomerBalanceTransactionRetrieveParams,
    CustomerBalanceTransactionUpdateParams,
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
from devstack.simulators.stripe.errors import invalid, no_such
from devstack.simulators.stripe.operations import Operations

OPERATIONS = Operations()
KIND: Final = "customer_balance_transaction"


def enter(books: Books, customer_id: str, amount: int, kind: str, currency: str, **members: object) -> Document:
    """Move the balance by `amount`, and write down why."""
    customer = books.fetch("customer", customer_id)
    ending = customer["balance"] + amount
    entry = {
        "id": new_id("cbtxn"),
        "object": KIND,
        **nulls("checkout_session credit_note customer_account description invoice"),
        "amount": amount,
        "created": books.now(),
        "currency": currency,
        "customer": customer_id,
        "ending_balance": ending,
        "livemode": False,
        "metadata": {},
        "type": kind,
        **members,
    }
    books.keep(entry)
    previous = {"balance": customer["balance"]}
    books.emit("customer.updated", books.keep({**customer, "balance": ending}), previous)
    return entry


def use(books: Books, invoice: Document) -> None:
    """An invoice that is opened uses the balance up, adds to it, or is too small to be charged and stays on it."""
    moved = invoice["ending_balance"] - invoice["starting_balance"]
    if moved:
        kind = "invoice_too_small" if invoice["ending_balance"] > 0 else "applied_to_invoice"
        enter(books, invoice["customer"], moved, kind, invoice["currency"], invoice=invoice["id"])


def give_back(books: Books, invoice: Document) -> None:
    """An invoice that is voided needs nothing of the balance any more."""
    moved = (invoice["ending_balance"] or 0) - invoice["starting_balance"]
    if moved and invoice["ending_balance"] is not None:
        enter(books, invoice["customer"], -moved, "unapplied_from_invoice", invoice["currency"], invoice=invoice["id"])


@OPERATIONS.post("/v1/customers/{customer}/balance_transactions", CustomerBalanceTransactionCreateParams)
def create(books: Books, params: Params, customer_id: str) -> Document:
    customer = books.fetch("customer", customer_id)
    if customer.get("deleted"):
        raise no_such("customer", customer_id, None)
    currency = params["currency"].lower()
    if customer["currency"] not in (None, currency):
        raise invalid(f"The customer's balance is in {customer['currency']}.", param="currency")
    return enter(
        books,
        customer_id,
        params["amount"],
        "adjustment",
        currency,
        description=params.get("description"),
        metadata=merge_metadata({}, params.get("metadata", {})),
    )


@OPERATIONS.get("/v1/customers/{customer}/balance_transactions", CustomerBalanceTransactionListParams)
def list_all(books: Books, params: Params, customer_id: str) -> Document:
    books.fetch("customer", customer_id)
    url = f"/v1/customers/{customer_id}/balance_transactions"
    return books.page(KIND, url, params, *equal({**params, "customer": customer_id}, "customer", "invoice"))


@OPERATIONS.get("/v1/customers/{customer}/balance_transactions/{entry}", CustomerBalanceTransactionRetrieveParams)
def retrieve(books: Books, _params: Params, customer_id: str, entry_id: str) -> Document:
    entry = books.fetch(KIND, entry_id)
    if entry["customer"] != customer_id:
        raise no_such(KIND, entry_id, None)
    return entry


@OPERATIONS.post("/v1/customers/{customer}/balance_transactions/{entry}", CustomerBalanceTransactionUpdateParams)
def update(books: Books, params: Params, customer_id: str, entry_id: str) -> Document:
    entry = retrieve(books, params, customer_id, entry_id)
    apply_changes(entry, params, "description metadata")
    return books.keep(entry)
