"""Checkout repository: every SQL statement about checkouts."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Text, bindparam, case, exists, select, update
from sqlalchemy.dialects.postgresql import insert

from billing_api.commerce.stripe_mirror.repository import customer_at_stripe
from billing_api.licensing.licenses.repository import effective_status
from core.errors import NotFound
from db.models.commerce import (
    Checkout,
    CheckoutStatus,
    LicenseSubscription,
    Payment,
    PaymentStatus,
    Subscription,
    SubscriptionStatus,
    Trial,
)
from db.models.identity import User
from db.models.licensing import License
from db.reads import OwnStatement, Record, Statement
from db.unit_of_work import CustomerTransaction, SystemTransaction, Transaction

OWN: Final = OwnStatement(
    select(
        Checkout.id,
        Checkout.status,
        Checkout.plan_id,
        Checkout.interval,
        Checkout.quantity,
        Checkout.refused_because,
        License.id.label("license_id"),
    )
    .outerjoin(License, License.checkout_id == Checkout.id)
    .where(Checkout.id == bindparam("checkout_id", type_=Checkout.id.type))
)
"""A checkout, and the license that it led to."""

_INTENT: Final = Statement(
    insert(Checkout)
    .values(
        status=CheckoutStatus.OPEN,
        **{
            name: bindparam(f"its_{name}", type_=getattr(Checkout, name).type)
            for name in (
                *("id", "user_id", "plan_id", "interval", "quantity", "currency", "promotion_code", "is_trial"),
                "license_id",
            )
        },
    )
    .on_conflict_do_nothing()
)
_NOTE_SESSION: Final = Statement(
    update(Checkout)
    .where(Checkout.id == bindparam("checkout_id", type_=Checkout.id.type))
    .values(
        stripe_session_id=bindparam("session_id", type_=Text()),
        url=bindparam("its_url", type_=Text()),
        # An earlier request with the same key may have been refused; a paid one stays so.
        status=case((Checkout.status == CheckoutStatus.EXPIRED, CheckoutStatus.OPEN), else_=Checkout.status),
    )
)
_WANTED: Final = bindparam("wanted_license", type_=License.id.type)
_KNOWN: Final = Statement(
    select(
        select(Subscription.renewal_currency)
        .where(Subscription.user_id == bindparam("user_id", type_=User.id.type))
        .where(Subscription.renewal_currency.is_not(None))
        .order_by(Subscription.created_at)
        .limit(1)
        .scalar_subquery()
        .label("currency"),
        exists().where(Trial.user_id == bindparam("user_id", type_=User.id.type)).label("had_trial"),
        select(effective_status(bindparam("now", type_=License.created_at.type)))
        .where(License.id == _WANTED)
        .scalar_subquery()
        .label("license_status"),
        exists()
        .where(
            LicenseSubscription.license_id == _WANTED,
            LicenseSubscription.ended_at.is_(None),
            LicenseSubscription.subscription_id == Subscription.id,
            Subscription.status != SubscriptionStatus.CANCELLED,
        )
        .label("is_paid_for"),
        exists()
        .where(
            Payment.user_id == bindparam("user_id", type_=User.id.type),
            (Payment.status == PaymentStatus.SUCCEEDED) | (Payment.status == PaymentStatus.REFUNDED),
        )
        .label("has_bought"),
    )
)


async def write_intent(tx: CustomerTransaction, **values: Any) -> None:
    """Writes the intent. A retry after a request that died may find it written already."""
    plain = {"quantity": 1, "currency": None, "promotion_code": None, "is_trial": False, "license_id": None}
    await tx.run(_INTENT, {f"its_{name}": value for name, value in {**plain, **values}.items()})


async def known_of(tx: CustomerTransaction, user_id: UUID, license_id: UUID | None, now: datetime) -> Record:
    """What our rows say about the one who orders, and about the license that is to be bought again."""
    values = {"user_id": user_id, "wanted_license": license_id, "now": now}
    [row] = await tx.run(_KNOWN, values)
    return row


async def close_without_page(tx: SystemTransaction, checkout_id: UUID) -> None:
    """Nobody can pay a checkout that got no page, so it keeps nobody from closing the account."""
    mine = (Checkout.id == checkout_id, Checkout.status == CheckoutStatus.OPEN, Checkout.stripe_session_id.is_(None))
    await tx.session.execute(update(Checkout).where(*mine).values(status=CheckoutStatus.EXPIRED))


async def store_session(tx: SystemTransaction, checkout_id: UUID, *, session_id: str, url: str) -> None:
    await tx.run(_NOTE_SESSION, {"checkout_id": checkout_id, "session_id": session_id, "its_url": url})


async def with_license(tx: Transaction, checkout_id: UUID) -> tuple[Checkout, UUID | None]:
    """The checkout and the license that it led to; NotFound where the session may not see them."""
    statement = (
        select(Checkout, License.id)
        .outerjoin(License, License.checkout_id == Checkout.id)
        .where(Checkout.id == checkout_id)
    )
    row = (await tx.session.execute(statement)).one_or_none()
    if row is None:
        raise NotFound("there is no such checkout; check its id")
    return row[0], row[1]


async def customer_of(tx: SystemTransaction, checkout_id: UUID) -> tuple[str | None, str | None]:
    """(Stripe customer id, Stripe session id), each None where it has not been created yet."""
    statement = (
        select(customer_at_stripe(), Checkout.stripe_session_id)
        .join(Checkout, Checkout.user_id == User.id)
        .where(Checkout.id == checkout_id)
    )
    row = (await tx.session.execute(statement)).one_or_none()
    return (row[0], row[1]) if row else (None, None)
