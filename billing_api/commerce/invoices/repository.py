"""Invoice repository: every SQL statement about invoices as their owner and staff see them."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, ScalarSelect, Select, and_, bindparam, cast, exists, func, select

from billing_api.commerce.stripe_mirror.money_back_repository import OPEN_DISPUTE
from billing_api.commerce.stripe_mirror.repository import customer_at_stripe
from core.errors import NotFound
from core.mailbox import mailbox_key
from db.models.commerce import Invoice, InvoiceStatus, Payment, Subscription
from db.models.identity import User
from db.models.money_back import Dispute
from db.paging import Order
from db.reads import OwnList, OwnStatement
from db.unit_of_work import PrivilegedTransaction

NEWEST_INVOICES: Final = Order(Invoice.created_at, Invoice.id)
_FACTS: Final = (
    Invoice.id,
    Invoice.number,
    Invoice.subscription_id,
    Invoice.currency,
    Invoice.amount_due,
    Invoice.amount_paid,
    Invoice.amount_remaining,
    Invoice.subtotal,
    Invoice.discount,
    Invoice.tax,
    Invoice.total.label("invoice_total"),  # a list has a `total` of its own
    Invoice.balance_used,
    Invoice.lines,
    Invoice.credit_notes,
    Invoice.status,
    Invoice.invoice_pdf_url,
    Invoice.payment_url,
    Invoice.created_at,
    Invoice.due_date,
    Invoice.paid_at,
)


class InvoiceFilter(NamedTuple):
    """What staff look for; None: whatever it is."""

    status: InvoiceStatus | None = None
    email: str | None = None
    subscription_id: UUID | None = None
    number: str | None = None
    stripe_id: str | None = None
    failed: bool | None = None
    """Whether it is an open renewal that could not be collected."""
    since: datetime | None = None
    before: datetime | None = None


def invoices() -> Select[*tuple[Any, ...]]:
    """Invoices with what went back of their payments: the fields of `schemas.InvoiceView`. Drafts are left out."""
    return _all().where(Invoice.status != InvoiceStatus.DRAFT)


def _all() -> Select[*tuple[Any, ...]]:
    return select(*_FACTS, _refunded().label("refunded"))


def for_staff(wanted: InvoiceFilter) -> Select[*tuple[Any, ...]]:
    """With owner, ids at Stripe, and drafts. Every given condition must be true."""
    more = (Invoice.user_id, Invoice.stripe_invoice_id, User.email, customer_at_stripe().label("customer_id"))
    given = {name: value for name, value in wanted._asdict().items() if value is not None}
    conditions = (_MEANS[name](value) for name, value in given.items())
    return _all().add_columns(*more).join(User, User.id == Invoice.user_id).where(*conditions)


_MEANS: Final[Mapping[str, Callable[[Any], ColumnElement[bool]]]] = {
    "status": lambda status: Invoice.status == status,
    "email": lambda email: User.email_key == mailbox_key(email),
    "subscription_id": lambda subscription_id: Invoice.subscription_id == subscription_id,
    "number": lambda number: func.upper(Invoice.number) == number.upper(),
    "stripe_id": lambda its: Invoice.stripe_invoice_id == its,
    "failed": lambda failed: _has_failed() if failed else ~_has_failed(),
    "since": lambda since: Invoice.created_at >= since,
    "before": lambda before: Invoice.created_at < before,
}
"""By the fields of `InvoiceFilter`."""


def _has_failed() -> ColumnElement[bool]:
    return and_(Invoice.status == InvoiceStatus.OPEN, Invoice.first_failed_at.is_not(None))


async def one_for_staff(tx: PrivilegedTransaction, invoice_id: UUID) -> Any:
    row = (await tx.session.execute(for_staff(InvoiceFilter()).where(Invoice.id == invoice_id))).one_or_none()
    if row is None:
        raise NotFound("there is no such invoice: list them with GET admin/invoices")
    return row


async def has_ended(tx: PrivilegedTransaction, invoice_id: UUID) -> bool:
    """Whether the invoice is one of a subscription that has ended."""
    ended = exists().where(Invoice.id == invoice_id, Subscription.id == Invoice.subscription_id)
    return bool(await tx.session.scalar(select(ended.where(Subscription.ended_at.is_not(None)))))


async def is_disputed(tx: PrivilegedTransaction, invoice_id: UUID) -> bool:
    """Whether a payment of the invoice has an open dispute."""
    disputed = exists().where(Payment.invoice_id == invoice_id, Dispute.payment_id == Payment.id)
    return bool(await tx.session.scalar(select(disputed.where(Dispute.status.in_(OPEN_DISPUTE)))))


async def customer_of(tx: PrivilegedTransaction, user_id: UUID) -> str | None:
    """The user's customer at Stripe; NotFound where there is no such user."""
    row = (await tx.session.execute(select(User.stripe_customer_id).where(User.id == user_id))).one_or_none()
    if row is None:
        raise NotFound("there is no such user; check the id")
    found: str | None = row[0]
    return found


def _refunded() -> ScalarSelect[Any]:
    back = cast(func.coalesce(func.sum(Payment.refunded), 0), BigInteger)  # a sum is NUMERIC
    return select(back).where(Payment.invoice_id == Invoice.id).correlate(Invoice).scalar_subquery()


INVOICES: Final = OwnList(
    invoices(),
    NEWEST_INVOICES,
    status=Invoice.status == bindparam("status", type_=Invoice.status.type),
    subscription_id=Invoice.subscription_id == bindparam("subscription_id", type_=Invoice.id.type),
    since=Invoice.created_at >= bindparam("since", type_=Invoice.created_at.type),
    before=Invoice.created_at < bindparam("before", type_=Invoice.created_at.type),
)
INVOICE: Final = OwnStatement(invoices().where(Invoice.id == bindparam("invoice_id", type_=Invoice.id.type)))
