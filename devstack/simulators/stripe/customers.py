"""Customers."""

from stripe.params import (
    CustomerCreateParams,
    CustomerDeleteParams,
    CustomerListParams,
    CustomerPaymentMethodListParams,
    CustomerPaymentMethodRetrieveParams,
    CustomerRetrieveParams,
    CustomerUpdateParams,
)

from devstack.simulators.journal import Where
from devstack.simulators.stripe import customer_balance, lifecycle, payment_methods
from devstack.simulators.stripe.books import (
    TEST_CLOCK,
    Books,
    Document,
    Params,
    an_address,
    apply_changes,
    equal,
    merge_metadata,
    new_id,
    nulls,
    random_text,
)
from devstack.simulators.stripe.errors import no_such
from devstack.simulators.stripe.operations import Operations

OPERATIONS = Operations()
_CHANGEABLE = "address balance description email metadata name phone preferred_locales shipping tax_exempt"


def open_account(books: Books, params: Params) -> Document:
    """A new customer, written and told; on a test clock where one is named."""
    clock = params.get("test_clock")
    if clock:
        books.fetch(TEST_CLOCK, clock, "test_clock")
    customer = {
        "id": new_id("cus", 14),
        "object": "customer",
        **nulls("address currency customer_account default_source description discount email name phone shipping"),
        "balance": 0,
        "created": books.now(),
        "delinquent": False,
        "invoice_prefix": random_text(8).upper(),
        "invoice_settings": nulls("custom_fields default_payment_method footer rendering_options"),
        "livemode": False,
        "metadata": merge_metadata({}, params.get("metadata", {})),
        "next_invoice_sequence": 1,
        "preferred_locales": [],
        "tax_exempt": "none",
        "test_clock": clock,
    }
    apply_changes(customer, with_whole_addresses(params), _CHANGEABLE)
    books.keep(customer)
    _apply_settings(books, customer, params)
    books.emit("customer.created", books.keep(customer))
    return customer


@OPERATIONS.post("/v1/customers", CustomerCreateParams)
def create(books: Books, params: Params) -> Document:
    chosen = params.get("invoice_settings", {}).get("default_payment_method")
    settings = {**params.get("invoice_settings", {}), "default_payment_method": None}
    customer = open_account(books, {**params, "invoice_settings": settings})
    reference = params.get("payment_method", chosen)
    if reference:
        method = payment_methods.attach(books, payment_methods.usable(books, reference), customer["id"])
        if chosen in (None, reference):
            chosen = method["id"]
        _apply_settings(books, customer, {"invoice_settings": {"default_payment_method": chosen}})
    return books.keep(customer)


@OPERATIONS.get("/v1/customers", CustomerListParams)
def list_all(books: Books, params: Params) -> Document:
    return books.page("customer", "/v1/customers", params, Where("$.livemode", value=False), *equal(params, "email"))


@OPERATIONS.get("/v1/customers/{customer}", CustomerRetrieveParams)
def retrieve(books: Books, _params: Params, customer_id: str) -> Document:
    return books.fetch("customer", customer_id)


@OPERATIONS.post("/v1/customers/{customer}", CustomerUpdateParams)
def update(books: Books, params: Params, customer_id: str) -> Document:
    customer = _not_deleted(books, customer_id)
    if "balance" in params:
        _adjust(books, customer, params["balance"])
    previous = apply_changes(customer, with_whole_addresses(params), _CHANGEABLE)
    before = dict(customer["invoice_settings"])
    _apply_settings(books, customer, params)
    if customer["invoice_settings"] != before:
        previous["invoice_settings"] = before
    books.keep(customer)
    if previous:
        books.emit("customer.updated", customer, previous)
    return customer


def _adjust(books: Books, customer: Document, balance: int) -> None:
    """A balance that is set is moved there by an entry, as each is."""
    moved = balance - customer["balance"]
    if moved:
        customer_balance.enter(books, customer["id"], moved, "adjustment", customer["currency"] or "usd")
        customer["balance"] = balance


@OPERATIONS.delete("/v1/customers/{customer}", CustomerDeleteParams)
def delete(books: Books, _params: Params, customer_id: str) -> Document:
    """For good, and with it ends whatever the customer is subscribed to, at once."""
    customer = _not_deleted(books, customer_id)
    for subscription in books.all("subscription", Where("$.customer", customer_id)):
        if subscription["status"] not in lifecycle.ENDED:
            lifecycle.end(books, subscription, "canceled", "cancellation_requested")
    books.emit("customer.deleted", customer)
    return books.keep({"id": customer_id, "object": "customer", "deleted": True})


@OPERATIONS.get("/v1/customers/{customer}/payment_methods", CustomerPaymentMethodListParams)
def list_payment_methods(books: Books, params: Params, customer_id: str) -> Document:
    books.fetch("customer", customer_id)
    url = f"/v1/customers/{customer_id}/payment_methods"
    return books.page("payment_method", url, params, Where("$.customer", customer_id), *equal(params, "type"))


@OPERATIONS.get("/v1/customers/{customer}/payment_methods/{method}", CustomerPaymentMethodRetrieveParams)
def retrieve_payment_method(books: Books, _params: Params, customer_id: str, method_id: str) -> Document:
    books.fetch("customer", customer_id)
    return payment_methods.of_customer(books, method_id, customer_id)


def _not_deleted(books: Books, customer_id: str) -> Document:
    """One that was deleted can be read, as deleted, and nothing else."""
    customer = books.fetch("customer", customer_id)
    if customer.get("deleted"):
        raise no_such("customer", customer_id, None)
    return customer


def default_payment_method(books: Books, customer_id: str) -> str | None:
    settings: Document = books.fetch("customer", customer_id)["invoice_settings"]
    chosen: str | None = settings["default_payment_method"]
    return chosen


def with_whole_addresses(params: Params) -> Params:
    """An address is sent by its lines and shown with all of them."""
    whole = dict(params)
    if params.get("address"):
        whole["address"] = an_address(params["address"])
    if params.get("shipping"):
        whole["shipping"] = {**params["shipping"], "address": an_address(params["shipping"].get("address"))}
    return whole


def _apply_settings(books: Books, customer: Document, params: Params) -> None:
    settings = params.get("invoice_settings", {})
    if settings.get("default_payment_method"):
        payment_methods.of_customer(books, settings["default_payment_method"], customer["id"])
    apply_changes(
        customer["invoice_settings"], settings, "custom_fields default_payment_method footer rendering_options"
    )
