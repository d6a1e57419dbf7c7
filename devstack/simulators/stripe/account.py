"""Stripe's account: the one that everything belongs to."""

from stripe.params import AccountRetrieveCurrentParams

from devstack.simulators.stripe.books import Books, Document, Params
from devstack.simulators.stripe.operations import Operations

OPERATIONS = Operations()


@OPERATIONS.get("/v1/account", AccountRetrieveCurrentParams)
def retrieve(_books: Books, _params: Params) -> Document:
    return {
        "id": "acct_1NextPanelSimulated",
        "object": "account",
        "business_type": "company",
        "charges_enabled": True,
        "country": "US",
        "default_currency": "usd",
        "details_submitted": True,
        "email": "billing@nextpanel.example",
        "payouts_enabled": True,
        "type": "standard",
    }
