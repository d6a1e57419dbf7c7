"""Stripe's account: the one that everything belongs to, and its settings for payments that fail."""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta
from stripe.params import AccountRetrieveCurrentParams

from devstack.simulators.stripe.books import Books, Document, Params
from devstack.simulators.stripe.operations import Operations

OPERATIONS = Operations()
_SETTINGS: Final = "_settings"


AfterRetries = Literal["cancel", "unpaid", "past_due"]


class Collection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What happens to an invoice whose payment failed, as the account's settings at Stripe say it."""

    retries: Annotated[list[Annotated[int, Meta(ge=1, le=60)]], Meta(max_length=8)] = msgspec.field(
        default_factory=lambda: [3, 3, 3]
    )
    """Days from one try to the next. After the last one no more is tried."""
    after: AfterRetries = "cancel"
    """What its subscription becomes then."""


def collection_settings(books: Books) -> Collection:
    kept = books.find(_SETTINGS, "collection")
    return msgspec.convert(kept["settings"], Collection) if kept else Collection()


def begin_with(books: Books, after: AfterRetries) -> None:
    """Sets what follows the last try, where nobody has set it before."""
    if books.find(_SETTINGS, "collection") is None:
        change_collection(books, Collection(after=after))


def change_collection(books: Books, settings: Collection) -> Document:
    return books.keep({"object": _SETTINGS, "id": "collection", "settings": msgspec.to_builtins(settings)})


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
