"""SQL of everything about a customer: one statement for each part, and one row more than is shown."""

from datetime import datetime
from typing import Any, Final, NamedTuple, TypeVar
from uuid import UUID

from sqlalchemy import Select, Text, cast, func, literal_column, select

from billing_api.commerce.invoices import repository as invoices
from billing_api.commerce.payments import repository as payments
from billing_api.commerce.subscriptions.own_repository import SHOWN
from billing_api.commerce.subscriptions.repository import NEWEST_FIRST
from billing_api.licensing.licenses import repository as licenses
from billing_api.operations.audit import repository as audit
from billing_api.operations.customers.notes import repository as notes
from db.models.commerce import Invoice, Payment, Subscription
from db.models.identity import RecoveryCode, Session, TotpFactor
from db.models.licensing import ApiKey, License
from db.models.messaging import Mail, OutboxRow
from db.paging import Order
from db.unit_of_work import StaffTransaction

MOST: Final = 20
"""Of each part, the newest."""

SelectT = TypeVar("SelectT", bound=Select[*tuple[Any, ...]])


class Newest(NamedTuple):
    rows: list[Any]
    more: bool


class SecondFactor(NamedTuple):
    confirmed_at: datetime | None
    blocked_until: datetime | None
    unused_codes: int


async def newest(tx: StaffTransaction, statement: Select[*tuple[Any, ...]]) -> Newest:
    """`statement` asks for MOST + 1 rows."""
    rows = list((await tx.session.execute(statement)).all())
    return Newest(rows[:MOST], len(rows) > MOST)


def licenses_of(user_id: UUID) -> Select[*tuple[Any, ...]]:
    return _first(licenses.search().where(License.user_id == user_id), licenses.NEWEST_FIRST)


def subscriptions_of(user_id: UUID) -> Select[*tuple[Any, ...]]:
    return _first(SHOWN.where(Subscription.user_id == user_id), NEWEST_FIRST)


def invoices_of(user_id: UUID) -> Select[*tuple[Any, ...]]:
    return _first(invoices.invoices().where(Invoice.user_id == user_id), invoices.NEWEST_INVOICES)


def payments_of(user_id: UUID) -> Select[*tuple[Any, ...]]:
    return _first(payments.payments().where(Payment.user_id == user_id), payments.NEWEST_PAYMENTS)


def api_keys_of(user_id: UUID) -> Select[*tuple[Any, ...]]:
    return _first(select(ApiKey).where(ApiKey.user_id == user_id), Order(ApiKey.created_at, ApiKey.id))


def audit_of(user_id: UUID) -> Select[*tuple[Any, ...]]:
    return audit.concerning(user_id, MOST + 1)


def notes_of(user_id: UUID) -> Select[*tuple[Any, ...]]:
    return notes.newest_of(user_id, MOST + 1)


def mails_of(user_id: UUID) -> Select[*tuple[Any, ...]]:
    """With the job of each that has not left: the columns are those that staff may read."""
    job = (
        select(OutboxRow.attempts, OutboxRow.last_error, OutboxRow.dead_at)
        # Spelled as in the index ix_outbox_unsent_mail.
        .where(literal_column("outbox.job ->> 'mail_id'") == cast(Mail.id, Text()))
        .where(literal_column("outbox.job ->> 'type'") == literal_column("'deliver_mail'"))
        .where(OutboxRow.done_at.is_(None), Mail.sent_at.is_(None))
        .order_by(OutboxRow.id.desc())
        .limit(1)
        .correlate(Mail)
        .lateral("job")
    )
    shown = (Mail.id, Mail.recipient, Mail.template, Mail.created_at, Mail.sent_at)
    statement = select(*shown, job.c.attempts, job.c.last_error, job.c.dead_at)
    mine = statement.select_from(Mail).outerjoin(job, literal_column("true")).where(Mail.user_id == user_id)
    return _first(mine, Order(Mail.created_at, Mail.id))


def sessions_of(user_id: UUID, now: datetime) -> Select[*tuple[Any, ...]]:
    """Open ones; the last used first."""
    shown = (Session.id, Session.user_agent, Session.address, Session.amr)
    when = (Session.created_at, Session.last_seen_at, Session.expires_at)
    lives = (Session.user_id == user_id, Session.revoked_at.is_(None), Session.expires_at > now)
    return _first(select(*shown, *when).where(*lives), Order(Session.last_seen_at, Session.id))


async def second_factor(tx: StaffTransaction, user_id: UUID) -> SecondFactor:
    unused = (
        select(func.count())
        .select_from(RecoveryCode)
        .where(RecoveryCode.user_id == user_id, RecoveryCode.used_at.is_(None))
        .scalar_subquery()
    )
    factor = select(TotpFactor.confirmed_at, TotpFactor.blocked_until).where(TotpFactor.user_id == user_id).subquery()
    one_row = select(literal_column("1").label("one")).subquery()
    statement = (
        select(factor.c.confirmed_at, factor.c.blocked_until, unused)
        .select_from(one_row)
        .outerjoin(factor, literal_column("true"))
    )
    return SecondFactor(*(await tx.session.execute(statement)).one())


def _first(statement: Select[*tuple[Any, ...]], order: Order) -> Select[*tuple[Any, ...]]:
    return order.sorted(statement).limit(MOST + 1)
