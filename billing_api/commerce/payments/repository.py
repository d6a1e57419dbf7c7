"""Payment repository: every SQL statement about payments as their owner and staff see them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, ScalarSelect, Select, bindparam, exists, func, or_, select
from sqlalchemy.dialects.postgresql import JSONB

from core.errors import NotFound
from core.mailbox import mailbox_key
from db.models.commerce import Payment, PaymentStatus
from db.models.identity import User
from db.models.money_back import Dispute, Refund
from db.paging import Order
from db.reads import OwnList, OwnStatement
from db.unit_of_work import StaffTransaction

NEWEST_PAYMENTS: Final = Order(Payment.created_at, Payment.id)
_ZULU: Final = 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'
_FACTS: Final = (
    Payment.id,
    Payment.license_id,
    Payment.invoice_id,
    Payment.stripe_payment_intent_id,
    Payment.amount,
    Payment.refunded,
    Payment.currency,
    Payment.status,
    Payment.payment_method,
    Payment.description,
    Payment.failure_code,
    Payment.failure_message,
    Payment.created_at,
)


class PaymentFilter(NamedTuple):
    """What staff look for; None: whatever it is."""

    status: PaymentStatus | None = None
    email: str | None = None
    license_id: UUID | None = None
    invoice_id: UUID | None = None
    stripe_id: str | None = None
    """Of the payment intent or the charge."""
    refunded: bool | None = None
    """Whether something of it went back."""
    disputed: bool | None = None
    since: datetime | None = None
    before: datetime | None = None


def payments() -> Select[*tuple[Any, ...]]:
    """Payments with their refunds, the oldest first, and their newest dispute: the fields of `schemas.PaymentView`."""
    return select(*_FACTS, _refunds().label("refunds"), _dispute().label("dispute"))


def for_staff(wanted: PaymentFilter) -> Select[*tuple[Any, ...]]:
    """The same with owner, ids at Stripe and all that staff read. Every given condition must be true."""
    statement = payments().add_columns(Payment.user_id, Payment.stripe_charge_id, User.email)
    return statement.join(User, User.id == Payment.user_id).where(*_conditions(wanted))


def _conditions(wanted: PaymentFilter) -> Iterator[ColumnElement[bool]]:
    given = {name: value for name, value in wanted._asdict().items() if value is not None}
    for name, value in given.items():
        yield _MEANS[name](value)


_MEANS: Final[Mapping[str, Callable[[Any], ColumnElement[bool]]]] = {
    "status": lambda status: Payment.status == status,
    "email": lambda email: User.email_key == mailbox_key(email),
    "license_id": lambda license_id: Payment.license_id == license_id,
    "invoice_id": lambda invoice_id: Payment.invoice_id == invoice_id,
    "stripe_id": lambda its: or_(Payment.stripe_payment_intent_id == its, Payment.stripe_charge_id == its),
    "refunded": lambda some: Payment.refunded > 0 if some else Payment.refunded == 0,
    "disputed": lambda some: _disputed() if some else ~_disputed(),
    "since": lambda since: Payment.created_at >= since,
    "before": lambda before: Payment.created_at < before,
}
"""By the fields of `PaymentFilter`."""


def _disputed() -> ColumnElement[bool]:
    return exists().where(Dispute.payment_id == Payment.id)


async def one_for_staff(tx: StaffTransaction, payment_id: UUID) -> Any:
    row = (await tx.session.execute(for_staff(PaymentFilter()).where(Payment.id == payment_id))).one_or_none()
    if row is None:
        raise NotFound("there is no such payment: list them with GET admin/payments")
    return row


async def refunds_of(tx: StaffTransaction, payment_id: UUID) -> Sequence[Refund]:
    mine = select(Refund).where(Refund.payment_id == payment_id).order_by(Refund.created_at, Refund.id)
    return (await tx.session.scalars(mine)).all()


async def disputes_of(tx: StaffTransaction, payment_id: UUID) -> Sequence[Dispute]:
    mine = select(Dispute).where(Dispute.payment_id == payment_id).order_by(Dispute.created_at, Dispute.id)
    return (await tx.session.scalars(mine)).all()


def _refunds() -> ScalarSelect[Any]:
    row = Refund
    one = _json(row, id=row.id, status=row.status, reason=row.reason, failure=row.failure)
    listed = func.coalesce(func.jsonb_agg(one.op("ORDER BY")(row.created_at), type_=JSONB), func.jsonb_build_array())
    return select(listed).where(row.payment_id == Payment.id).correlate(Payment).scalar_subquery()


def _dispute() -> ScalarSelect[Any]:
    row = Dispute
    one = _json(row, id=row.id, status=row.status, reason=row.reason)
    mine = select(one).where(row.payment_id == Payment.id).correlate(Payment)
    return mine.order_by(row.created_at.desc(), row.id.desc()).limit(1).scalar_subquery()


def _json(row: type[Refund] | type[Dispute], **values: Any) -> Any:
    """The row as JSON, with its amount and the instant of its creation."""
    money = func.jsonb_build_object("amount", row.amount, "currency", row.currency)
    at = func.to_char(func.timezone("UTC", row.created_at), _ZULU)
    named = {**values, "amount": money, "created_at": at}
    return func.jsonb_build_object(*(part for pair in named.items() for part in pair), type_=JSONB)


PAYMENTS: Final = OwnList(payments(), NEWEST_PAYMENTS)
PAYMENT: Final = OwnStatement(payments().where(Payment.id == bindparam("payment_id", type_=Payment.id.type)))
