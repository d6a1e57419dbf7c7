"""Every SQL statement of the search. Each is bounded, and each finds its rows by an index."""

from typing import Any, Final

from sqlalchemy import ColumnElement, Select, Text, case, cast, func, or_, select

from billing_api.operations.search.rules import Asked
from db.models.commerce import Invoice, Payment, PaymentIntent, Subscription
from db.models.identity import PERSON_TEXT, User
from db.models.licensing import License, Plan

MOST: Final = 10
_FETCHED: Final = MOST + 1
"""One more than is shown tells whether there are others."""
_PROBED: Final = 1000
_CANDIDATES: Final = 500

Found = Select[*tuple[Any, ...]]

_USER: Final = (User.id, User.email, User.full_name, User.company_name, User.role, User.is_active, User.deleted_at)


def users_by_id(asked: Asked) -> Found | None:
    if asked.own_id is not None:
        return select(*_USER).where(User.id == asked.own_id)
    if asked.customer_id is not None:
        mine = User.stripe_customer_id == asked.customer_id
        former = User.former_stripe_customer_ids.contains(func.to_jsonb(cast(asked.customer_id, Text)))
        return select(*_USER).where(or_(mine, former)).limit(_FETCHED)
    return None


def user_by_address(address: str) -> Found:
    return select(*_USER).where(User.email_key == address)


def newest_users_by_part(part: str) -> Found:
    """Those among the newest users. A part that many have is found here, without walking through all that have it."""
    newest = (
        select(*_USER, User.email_key, User.created_at, PERSON_TEXT.label("person_text"))
        .order_by(User.created_at.desc(), User.id.desc())
        .limit(_PROBED)
        .subquery()
    )
    found = select(newest).where(newest.c.person_text.like(_anywhere(part)))
    return found.order_by(*_best_first(newest.c, part)).limit(_FETCHED)


def users_by_part(part: str) -> Found:
    """By the trigrams of the part: for one that few have.

    Where the database's LC_CTYPE is C, letters outside ASCII have no trigrams. For a part of nothing else the index
    would yield everybody, which takes seconds: nobody is found then but by `newest_users_by_part`.
    """
    candidates = (
        select(*_USER, User.email_key, User.created_at)
        .where(func.cardinality(func.show_trgm(part)) > 0, PERSON_TEXT.like(_anywhere(part)))
        .limit(_CANDIDATES)
        .subquery()
    )
    return select(candidates).order_by(*_best_first(candidates.c, part)).limit(_FETCHED)


def licenses(asked: Asked) -> Found | None:
    if asked.own_id is not None:
        wanted = License.id == asked.own_id
    elif asked.key_hint is not None:
        wanted = License.key_hint == asked.key_hint
    else:
        return None
    return (
        select(License, Plan.name, User.email)
        .join(Plan, Plan.id == License.plan_id)
        .join(User, User.id == License.user_id)
        .where(wanted)
        .order_by(License.created_at.desc(), License.id.desc())
        .limit(_FETCHED)
    )


def subscriptions(asked: Asked) -> Found | None:
    if asked.own_id is not None:
        wanted = Subscription.id == asked.own_id
    elif asked.subscription_id is not None:
        wanted = Subscription.stripe_subscription_id == asked.subscription_id
    else:
        return None
    return (
        select(Subscription, Plan.name, User.email)
        .join(Plan, Plan.id == Subscription.plan_id)
        .join(User, User.id == Subscription.user_id)
        .where(wanted)
    )


def invoices(asked: Asked) -> Found | None:
    if asked.own_id is not None:
        wanted = Invoice.id == asked.own_id
    elif asked.invoice_id is not None:
        wanted = Invoice.stripe_invoice_id == asked.invoice_id
    elif asked.invoice_number is not None:
        wanted = func.upper(Invoice.number).like(_escaped(asked.invoice_number) + "%")
    else:
        return None
    found = select(Invoice, User.email).join(User, User.id == Invoice.user_id).where(wanted)
    return found.order_by(Invoice.number).limit(_FETCHED)


def payments(asked: Asked) -> Found | None:
    found = select(Payment, User.email).join(User, User.id == Payment.user_id)
    if asked.own_id is not None:
        return found.where(Payment.id == asked.own_id)
    if asked.payment_intent_id is not None:
        # The registry names the month, so that one partition is read.
        registered = (Payment.id == PaymentIntent.payment_id) & (Payment.created_at == PaymentIntent.payment_created_at)
        return found.join(PaymentIntent, registered).where(
            PaymentIntent.stripe_payment_intent_id == asked.payment_intent_id
        )
    return None


def _best_first(columns: Any, part: str) -> tuple[ColumnElement[Any], ...]:
    """Addresses that begin with the part, then the newest."""
    begins = case((columns.email_key.like(_escaped(part) + "%"), 0), else_=1)
    return begins, columns.created_at.desc(), columns.id.desc()


def _anywhere(part: str) -> str:
    return f"%{_escaped(part)}%"


def _escaped(part: str) -> str:
    """Every character stands for itself in LIKE."""
    return part.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
