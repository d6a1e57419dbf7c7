"""Promotion repository: whose a code is. Coupons and codes themselves are Stripe's."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import select

from core.errors import FieldError, Unprocessable
from db.models.identity import User
from db.unit_of_work import StaffTransaction


async def customer(tx: StaffTransaction, user_id: UUID) -> User:
    user: User | None = await tx.session.scalar(select(User).where(User.id == user_id, User.deleted_at.is_(None)))
    if user is None:
        fault = FieldError("user_id", "is the id of no user", "unknown")
        raise Unprocessable("there is no such user; find the id with GET admin/users", errors=(fault,))
    return user


async def users_of(tx: StaffTransaction, customer_ids: Collection[str]) -> dict[str, UUID]:
    """User ids by Stripe's customer ids."""
    found = select(User.stripe_customer_id, User.id).where(User.stripe_customer_id.in_(list(customer_ids)))
    return {str(row[0]): row[1] for row in await tx.session.execute(found)}
