"""Dispute repository: every SQL statement about disputes as staff read them."""

from typing import Final
from uuid import UUID

from sqlalchemy import Select, select

from billing_api.commerce.stripe_mirror.money_back_repository import INQUIRY, OPEN_DISPUTE
from core.errors import NotFound
from db.models.identity import User
from db.models.money_back import Dispute
from db.paging import Order
from db.unit_of_work import Transaction

NEWEST_FIRST: Final = Order(Dispute.created_at, Dispute.id)


def search(*, status: str | None = None, is_open: bool | None = None) -> Select[Dispute, str]:
    """Disputes with their customers' addresses. Every given condition must be true."""
    statement = select(Dispute, User.email).join(User, User.id == Dispute.user_id)
    if status is not None:
        statement = statement.where(Dispute.status == status)
    if is_open is not None:
        waiting = Dispute.status.in_((*OPEN_DISPUTE, *INQUIRY))
        statement = statement.where(waiting if is_open else ~waiting)
    return statement


async def one(tx: Transaction, dispute_id: UUID) -> tuple[Dispute, str]:
    statement = search().where(Dispute.id == dispute_id).execution_options(populate_existing=True)
    row = (await tx.session.execute(statement)).one_or_none()
    if row is None:
        raise NotFound("there is no such dispute: list them with GET admin/disputes")
    return row[0], row[1]
