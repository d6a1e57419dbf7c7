"""Dunning repository: every SQL statement about unpaid renewals, the steps after them, and renewals to come."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import RowMapping, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert

from billing_api.commerce.stripe_mirror.held_repository import licenses_of
from core.billing_policy import DunningStep
from db.models.commerce import DunningStepRow, Invoice, Subscription, SubscriptionStatus
from db.models.identity import User
from db.models.licensing import Interval, License
from db.unit_of_work import SystemTransaction

# Unpaid is what a renewal's invoice charges for and no later payment has covered. Of several invoices of a subscription
# the oldest has steps: nobody is told of the next one on the day on which the license ends. A deed waits for the
# end of what the license has, as in schedule.py.
_DUE: Final = text(
    """
    SELECT invoices.id, invoices.stripe_invoice_id,
        coalesce(users.stripe_customer_id, users.former_stripe_customer_ids ->> -1, '') AS customer_id
    FROM invoices
    JOIN subscriptions ON subscriptions.id = invoices.subscription_id
    CROSS JOIN LATERAL (
        SELECT max(expiry_date) AS expiry_date FROM licenses
        JOIN license_subscriptions AS link ON link.license_id = licenses.id
        WHERE link.subscription_id = subscriptions.id AND link.ended_at IS NULL
    ) AS licenses
    JOIN users ON users.id = invoices.user_id
    WHERE invoices.status = 'open' AND invoices.first_failed_at <= :now AND NOT invoices.id = ANY(:put_off)
        AND subscriptions.status <> 'cancelled' AND subscriptions.ended_at IS NULL
        AND subscriptions.plan_paid_until <= :now
        AND NOT EXISTS (
            SELECT FROM invoices AS older WHERE older.subscription_id = invoices.subscription_id
                AND older.status = 'open' AND older.first_failed_at < invoices.first_failed_at
        )
        AND EXISTS (
            SELECT FROM unnest(CAST(:days AS integer[]), CAST(:deeds AS boolean[])) AS step (day, is_deed)
            WHERE invoices.first_failed_at + step.day * interval '24 hours' <= :now
                AND NOT (is_deed AND coalesce(licenses.expiry_date > :now, true))
                AND NOT EXISTS (
                    SELECT FROM dunning_steps WHERE invoice_id = invoices.id AND dunning_steps.day = step.day
                )
        )
    ORDER BY invoices.first_failed_at, invoices.id
    LIMIT :most
    """
)
_UNPAID: Final = text(
    """
    SELECT invoices.first_failed_at, licenses.expiry_date,
        ARRAY(SELECT day FROM dunning_steps WHERE invoice_id = invoices.id) AS taken
    FROM invoices
    JOIN subscriptions ON subscriptions.id = invoices.subscription_id
    CROSS JOIN LATERAL (
        SELECT max(expiry_date) AS expiry_date FROM licenses
        JOIN license_subscriptions AS link ON link.license_id = licenses.id
        WHERE link.subscription_id = subscriptions.id AND link.ended_at IS NULL
    ) AS licenses
    WHERE invoices.status = 'open' AND invoices.first_failed_at IS NOT NULL
        AND subscriptions.status <> 'cancelled' AND subscriptions.ended_at IS NULL
        AND subscriptions.plan_paid_until <= :now
        AND NOT EXISTS (
            SELECT FROM invoices AS older WHERE older.subscription_id = invoices.subscription_id
                AND older.status = 'open' AND older.first_failed_at < invoices.first_failed_at
        )
    """
)


class UnpaidInvoice(NamedTuple):
    """Its id, and the ids that Stripe knows the invoice and its customer by."""

    id: UUID
    stripe_id: str
    customer_id: str


async def due(
    tx: SystemTransaction, steps: Sequence[DunningStep], now: datetime, *, put_off: Collection[UUID], most: int
) -> list[UnpaidInvoice]:
    """Invoices with a step that is due and was not taken, the oldest first."""
    values = {"days": [step.day for step in steps], "deeds": [bool(step.do) for step in steps]}
    rows = await tx.session.execute(_DUE, {**values, "now": now, "put_off": list(put_off), "most": most})
    return [UnpaidInvoice(*row) for row in rows]


async def unpaid(tx: SystemTransaction, now: datetime) -> Sequence[RowMapping]:
    """`first_failed_at`, the latest `expiry_date` of its licenses, and `taken`, the days, of every unpaid renewal."""
    return (await tx.session.execute(_UNPAID, {"now": now})).mappings().all()


class Case(NamedTuple):
    """An unpaid renewal with what it is for. Its licenses are locked, and there is at least one."""

    invoice: Invoice
    subscription: Subscription
    user: User
    licenses: Sequence[License]
    taken: frozenset[int]

    @property
    def license(self) -> License:
        """The first of them, which names all in mails and in the audit trail."""
        return self.licenses[0]

    @property
    def in_force_until(self) -> datetime | None:
        """The end of what any of them has."""
        return max((one.expiry_date for one in self.licenses if one.expiry_date is not None), default=None)


async def lock_case(tx: SystemTransaction, invoice_id: UUID) -> Case | None:
    statement = (
        select(Invoice, Subscription, User)
        .join(Subscription, Subscription.id == Invoice.subscription_id)
        .join(User, User.id == Invoice.user_id)
        .where(Invoice.id == invoice_id)
        .with_for_update(of=Invoice)
    )
    row = (await tx.session.execute(statement)).one_or_none()
    licenses = [] if row is None else await licenses_of(tx, row[1].id)
    if row is None or not licenses:
        return None
    taken = await tx.session.scalars(select(DunningStepRow.day).where(DunningStepRow.invoice_id == invoice_id))
    return Case(*row, licenses, frozenset(taken))


async def note_step(tx: SystemTransaction, invoice_id: UUID, step: DunningStep, now: datetime, **more: Any) -> bool:
    """False where it was noted before."""
    name = step.mail or step.do
    values = {"invoice_id": invoice_id, "day": step.day, "step": name, "taken_at": now, **more}
    statement = insert(DunningStepRow).values(values).on_conflict_do_nothing().returning(DunningStepRow.day)
    return await tx.session.scalar(statement) is not None


def _renewing(interval: Interval) -> Any:
    return (
        Subscription.interval == interval,
        Subscription.status != SubscriptionStatus.CANCELLED,
        Subscription.ended_at.is_(None),
        ~Subscription.cancel_at_period_end,
        or_(
            Subscription.renewal_told_for.is_(None),
            Subscription.renewal_told_for < Subscription.current_period_end,
        ),
    )


async def renewing_soon(
    tx: SystemTransaction, interval: Interval, now: datetime, until: datetime, *, most: int
) -> Sequence[tuple[Subscription, User]]:
    """Subscriptions that renew between the two instants and whose owner was not told, locked, with their owners."""
    statement = (
        select(Subscription, User)
        .join(User, User.id == Subscription.user_id)
        .where(*_renewing(interval), Subscription.current_period_end.between(now, until))
        .order_by(Subscription.current_period_end)
        .limit(most)
        .with_for_update(of=Subscription, skip_locked=True)
    )
    return [(row[0], row[1]) for row in await tx.session.execute(statement)]


async def next_renewal(tx: SystemTransaction, interval: Interval, after: datetime) -> datetime | None:
    """The end of the period that ends first after the instant, among those whose owner was not told."""
    statement = select(func.min(Subscription.current_period_end))
    found: datetime | None = await tx.session.scalar(
        statement.where(*_renewing(interval), Subscription.current_period_end > after)
    )
    return found


async def note_told(tx: SystemTransaction, subscription_id: UUID, period_end: datetime) -> None:
    mine = Subscription.id == subscription_id
    await tx.session.execute(update(Subscription).where(mine).values(renewal_told_for=period_end))
