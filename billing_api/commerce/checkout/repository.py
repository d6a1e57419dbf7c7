"""Checkout repository: every SQL statement about checkouts."""

from typing import Any
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert

from billing_api.commerce.stripe_mirror.repository import customer_at_stripe
from core.errors import NotFound, Unauthenticated
from db.models.commerce import Checkout
from db.models.identity import User
from db.models.licensing import License
from db.unit_of_work import CustomerTransaction, SystemTransaction, Transaction


async def buyer(tx: CustomerTransaction) -> User:
    """The user, locked, so that no intent is written for an account that is being deleted."""
    active = select(User).where(User.id == tx.actor_id, User.is_active)
    user = await tx.session.scalar(active.with_for_update(key_share=True))
    if user is None:
        raise Unauthenticated("this account is closed: sign in to another one with POST auth/login")
    return user


async def write_intent(tx: CustomerTransaction, **values: Any) -> None:
    """Writes the intent. A retry after a request that died may find it written already."""
    await tx.session.execute(insert(Checkout).values(**values).on_conflict_do_nothing())


async def store_session(
    tx: SystemTransaction, checkout_id: UUID, *, user_id: UUID, customer_id: str, session_id: str, url: str
) -> None:
    await tx.session.execute(update(User).where(User.id == user_id).values(stripe_customer_id=customer_id))
    values = {"stripe_session_id": session_id, "url": url}
    await tx.session.execute(update(Checkout).where(Checkout.id == checkout_id).values(**values))


async def mark_customer_deleted(tx: SystemTransaction, user_id: UUID, customer_id: str) -> User:
    """Marks a customer as deleted at Stripe: it still belongs to the user, but is not used again. Idempotent."""
    user = (await tx.session.scalars(select(User).where(User.id == user_id).with_for_update())).one()
    if user.stripe_customer_id in {None, customer_id} and customer_id not in user.former_stripe_customer_ids:
        user.former_stripe_customer_ids = [*user.former_stripe_customer_ids, customer_id]
    if user.stripe_customer_id == customer_id:
        user.stripe_customer_id = None
    return user


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
