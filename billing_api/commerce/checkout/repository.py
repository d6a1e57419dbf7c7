"""Checkout repository: every SQL statement about checkouts."""

from typing import Any, Final
from uuid import UUID

from sqlalchemy import Text, bindparam, select, update
from sqlalchemy.dialects.postgresql import insert

from billing_api.commerce.stripe_mirror.repository import customer_at_stripe
from core.errors import NotFound
from db.models.commerce import Checkout, CheckoutStatus
from db.models.identity import User
from db.models.licensing import License
from db.reads import OwnStatement, Statement
from db.unit_of_work import CustomerTransaction, SystemTransaction, Transaction

OWN: Final = OwnStatement(
    select(Checkout.id, Checkout.status, Checkout.plan_id, Checkout.interval, License.id.label("license_id"))
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
            for name in ("id", "user_id", "plan_id", "interval")
        },
    )
    .on_conflict_do_nothing()
)
_NOTE_SESSION: Final = Statement(
    update(Checkout)
    .where(Checkout.id == bindparam("checkout_id", type_=Checkout.id.type))
    .values(stripe_session_id=bindparam("session_id", type_=Text()), url=bindparam("its_url", type_=Text()))
)


async def write_intent(tx: CustomerTransaction, **values: Any) -> None:
    """Writes the intent. A retry after a request that died may find it written already."""
    await tx.run(_INTENT, {f"its_{name}": value for name, value in values.items()})


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
