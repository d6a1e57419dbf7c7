"""Checkout repository: every SQL statement about checkouts."""

from typing import Any, Final
from uuid import UUID

from sqlalchemy import bindparam, select, update
from sqlalchemy.dialects.postgresql import insert

from billing_api.commerce.stripe_mirror.repository import customer_at_stripe
from core.errors import NotFound
from db.models.commerce import Checkout
from db.models.identity import User
from db.models.licensing import License
from db.reads import OwnStatement
from db.unit_of_work import CustomerTransaction, SystemTransaction, Transaction

OWN: Final = OwnStatement(
    select(Checkout.id, Checkout.status, Checkout.plan_id, Checkout.interval, License.id.label("license_id"))
    .outerjoin(License, License.checkout_id == Checkout.id)
    .where(Checkout.id == bindparam("checkout_id", type_=Checkout.id.type))
)
"""A checkout, and the license that it led to."""


async def write_intent(tx: CustomerTransaction, **values: Any) -> None:
    """Writes the intent. A retry after a request that died may find it written already."""
    await tx.session.execute(insert(Checkout).values(**values).on_conflict_do_nothing())


async def store_session(
    tx: SystemTransaction, checkout_id: UUID, *, user_id: UUID, customer_id: str, session_id: str, url: str
) -> None:
    await tx.session.execute(update(User).where(User.id == user_id).values(stripe_customer_id=customer_id))
    values = {"stripe_session_id": session_id, "url": url}
    await tx.session.execute(update(Checkout).where(Checkout.id == checkout_id).values(**values))


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
