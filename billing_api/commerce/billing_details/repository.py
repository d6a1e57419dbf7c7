"""Billing details repository: every SQL statement about them."""

from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from db.clock import NOW
from db.models.commerce import BillingDetailsRow
from db.models.identity import User
from db.unit_of_work import SystemTransaction, Transaction


async def stored(tx: Transaction, user_id: UUID) -> BillingDetailsRow | None:
    return await tx.session.get(BillingDetailsRow, user_id, populate_existing=True)


async def user(tx: Transaction, user_id: UUID) -> User | None:
    """None where the account is closed."""
    found: User | None = await tx.session.scalar(select(User).where(User.id == user_id, User.is_active))
    return found


async def store(tx: SystemTransaction, user_id: UUID, **values: Any) -> None:
    statement = insert(BillingDetailsRow).values(user_id=user_id, **values)
    again = statement.on_conflict_do_update(index_elements=["user_id"], set_={**values, "updated_at": NOW})
    await tx.session.execute(again)


async def for_stripe(tx: SystemTransaction, user_id: UUID) -> tuple[User, BillingDetailsRow | None] | None:
    """The user with what Stripe shall show; None where Stripe has no customer for the account, or it is closed."""
    found = await user(tx, user_id)
    if found is None or found.stripe_customer_id is None:
        return None
    return found, await stored(tx, user_id)


async def recipient_of_bills(tx: Transaction, user: User) -> str:
    """Where mails about money go: to the address of the billing details, or else to the owner."""
    row = await stored(tx, user.id)
    return user.email if row is None or row.email is None else row.email
