"""Repository of Stripe customers: every SQL statement about who a user is at Stripe."""

from uuid import UUID

from sqlalchemy import select, update

from core.errors import Unauthenticated
from db.models.identity import User
from db.unit_of_work import CustomerTransaction, SystemTransaction


async def buyer(tx: CustomerTransaction) -> User:
    """The user, locked, so that no intent is written for an account that is being deleted."""
    active = select(User).where(User.id == tx.actor_id, User.is_active)
    user = await tx.session.scalar(active.with_for_update(key_share=True))
    if user is None:
        raise Unauthenticated("this account is closed: sign in to another one with POST auth/login")
    return user


async def customer_id(tx: CustomerTransaction) -> str | None:
    """The user's customer, if there is one that was not deleted."""
    found: str | None = await tx.session.scalar(select(User.stripe_customer_id).where(User.id == tx.actor_id))
    return found


async def store_customer(tx: SystemTransaction, user_id: UUID, stripe_customer_id: str) -> None:
    await tx.session.execute(update(User).where(User.id == user_id).values(stripe_customer_id=stripe_customer_id))


async def mark_customer_deleted(tx: SystemTransaction, user_id: UUID, customer_id: str) -> User:
    """Marks a customer as deleted at Stripe: it still belongs to the user, but is not used again. Idempotent."""
    user = (await tx.session.scalars(select(User).where(User.id == user_id).with_for_update())).one()
    if user.stripe_customer_id in {None, customer_id} and customer_id not in user.former_stripe_customer_ids:
        user.former_stripe_customer_ids = [*user.former_stripe_customer_ids, customer_id]
    if user.stripe_customer_id == customer_id:
        user.stripe_customer_id = None
    return user
