"""Tax ids of customers, such as a VAT number: checked for their form, and verified at once."""

import re
from collections.abc import Mapping
from typing import Final

from stripe.params import (
    CustomerTaxIdCreateParams,
    CustomerTaxIdDeleteParams,
    CustomerTaxIdListParams,
    CustomerTaxIdRetrieveParams,
)

from devstack.simulators.journal import Where
from devstack.simulators.stripe.books import Books, Document, Params, new_id, nulls
from devstack.simulators.stripe.errors import invalid, no_such
from devstack.simulators.stripe.operations import Operations

OPERATIONS = Operations()
_PATH: Final = "/v1/customers/{customer}/tax_ids"
_FORMS: Final[Mapping[str, str]] = {
    "eu_vat": r"[A-Z]{2}[0-9A-Z+*]{2,12}",
    "gb_vat": r"GB([0-9]{9}|[0-9]{12}|(GD|HA)[0-9]{3})",
    "ch_vat": r"CHE[-0-9. ]{9,15}(MWST|TVA|IVA)?",
    "no_vat": r"[0-9]{9}MVA",
    "us_ein": r"[0-9]{2}-?[0-9]{7}",
    "au_abn": r"[0-9]{11}",
    "ca_bn": r"[0-9]{9}",
    "jp_cn": r"[0-9]{13}",
    "in_gst": r"[0-9]{2}[A-Z0-9]{13}",
    "nz_gst": r"[0-9]{8,9}",
}


@OPERATIONS.post(_PATH, CustomerTaxIdCreateParams)
def create(books: Books, params: Params, customer_id: str) -> Document:
    customer = books.fetch("customer", customer_id)
    if customer.get("deleted"):
        raise no_such("customer", customer_id, None)
    kind, value = params["type"], params["value"]
    if kind not in _FORMS:
        raise invalid(f"This simulator knows no tax ids of the type {kind}.", "type", "parameter_not_simulated")
    if not re.fullmatch(_FORMS[kind], value.upper()):
        raise invalid(f"Invalid value for {kind}.", param="value", code="tax_id_invalid")
    made = {
        "id": new_id("txi"),
        "object": "tax_id",
        **nulls("customer_account"),
        "country": value[:2].upper() if kind == "eu_vat" else kind[:2].upper(),
        "created": books.now(),
        "customer": customer_id,
        "livemode": False,
        "owner": {"customer": customer_id, "type": "customer"},
        "type": kind,
        "value": value,
        "verification": {"status": "verified", "verified_address": None, "verified_name": None},
    }
    books.emit("customer.tax_id.created", books.keep(made))
    return made


@OPERATIONS.get(_PATH, CustomerTaxIdListParams)
def list_all(books: Books, params: Params, customer_id: str) -> Document:
    books.fetch("customer", customer_id)
    return books.page("tax_id", f"/v1/customers/{customer_id}/tax_ids", params, Where("$.customer", customer_id))


@OPERATIONS.get(_PATH + "/{tax_id}", CustomerTaxIdRetrieveParams)
def retrieve(books: Books, _params: Params, customer_id: str, tax_id: str) -> Document:
    found = books.fetch("tax_id", tax_id)
    if found["customer"] != customer_id:
        raise no_such("tax_id", tax_id, None)
    return found


@OPERATIONS.delete(_PATH + "/{tax_id}", CustomerTaxIdDeleteParams)
def delete(books: Books, params: Params, customer_id: str, tax_id: str) -> Document:
    found = retrieve(books, params, customer_id, tax_id)
    books.collection("tax_id").remove(tax_id)
    books.emit("customer.tax_id.deleted", found)
    return {"id": tax_id, "object": "tax_id", "deleted": True}


def of_customer(books: Books, customer_id: str) -> list[Document]:
    return books.all("tax_id", Where("$.customer", customer_id))
