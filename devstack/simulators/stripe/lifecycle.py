"""A subscription's status, as payments move it.

| was | the invoice is paid | the payment fails |
|---|---|---|
| incomplete | active | incomplete |
| trialing, active | as it was | past_due |
| past_due, unpaid | active | as it was |

Canceled and expired ones do not move again.
"""

from collections.abc import Mapping
from typing import Final

from devstack.simulators.stripe.books import Books, Document, nulls

PAID: Final[Mapping[str, str]] = {"incomplete": "active", "past_due": "active", "unpaid": "active"}
FAILED: Final[Mapping[str, str]] = {"active": "past_due", "trialing": "past_due"}
ENDED: Final = ("canceled", "incomplete_expired")
RENEWING: Final = ("active", "past_due", "unpaid")


def paid(books: Books, subscription_id: str) -> None:
    _move(books, subscription_id, PAID)


def failed(books: Books, subscription_id: str) -> None:
    _move(books, subscription_id, FAILED)


def _move(books: Books, subscription_id: str, moves: Mapping[str, str]) -> None:
    subscription = books.fetch("subscription", subscription_id)
    before = subscription["status"]
    if before not in moves:
        return
    subscription["status"] = moves[before]
    books.keep(subscription)
    if subscription["_announced"]:
        books.emit("customer.subscription.updated", subscription, {"status": before})


def given_up(books: Books, subscription_id: str, after: str) -> None:
    """The last try to collect has failed: canceled, unpaid, or left past due, as the account's settings say."""
    subscription = books.fetch("subscription", subscription_id)
    if after == "cancel":
        end(books, subscription, "canceled", "payment_failed")
    elif after == "unpaid":
        _move(books, subscription_id, {"past_due": "unpaid"})


def end(books: Books, subscription: Document, status: str, reason: str | None) -> None:
    now = books.now()
    details = subscription["cancellation_details"] or nulls("comment feedback feedback_option reason")
    subscription |= {
        "status": status,
        "canceled_at": subscription["canceled_at"] or now,
        "ended_at": now,
        "cancellation_details": {**details, "reason": reason or details["reason"]},
    }
    books.emit("customer.subscription.deleted", books.keep(subscription))
