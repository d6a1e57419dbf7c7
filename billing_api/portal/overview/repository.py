"""Overview repository: a fixed number of statements, however much the customer owns.

All run in the customer's transaction, where row security shows the customer's own rows alone. Each table has an index
by user, so that other customers' rows cost nothing.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, func, select, text
from sqlalchemy.orm import aliased

from billing_api.commerce.payments.repository import NEWEST_INVOICES, invoices
from billing_api.licensing.licenses.repository import NEWEST_FIRST, effective_status, visible
from billing_api.licensing.licenses.views import Shown
from billing_api.portal.overview.views import Found, NextPeriod, Standing
from core.licensing.plan import RESOURCES
from core.licensing.state import Status
from db.models.commerce import Invoice, InvoiceStatus, Subscription, SubscriptionStatus
from db.models.identity import User
from db.models.licensing import License, Plan
from db.unit_of_work import CustomerTransaction

SOON: Final = timedelta(days=14)
"""How long before its end a license that nothing renews is told of."""
LATELY: Final = timedelta(days=30)
"""For how long a license that has expired is told of."""

_LIMITS: Final = ", ".join(f"('{name}', licenses.max_{name})" for name in RESOURCES)

# The order of the branches is the order of urgency. Every license over a limit is among overage_candidates
# (db/migrations/versions/0010_overages.sql), so that not all totals are read.
ATTENTION: Final = text(
    f"""
    WITH standing AS (
        SELECT id, label, status, status_message, expiry_date, grace_until,
            status = 'expired' OR (status = 'active' AND expiry_date IS NOT NULL
                                   AND greatest(expiry_date, grace_until) <= :now) AS has_expired
        FROM licenses
    ), running AS (
        SELECT id, license_id, status, current_period_end, cancel_at_period_end, pending_payment_url
        FROM subscriptions WHERE status <> 'cancelled'
    ), found AS (
        SELECT 1 AS urgency, 'payment_past_due' AS kind, license_id, running.id AS subscription_id, label,
            grace_until AS at, NULL::text AS resource, NULL::bigint AS over, NULL::text AS message,
            NULL::text AS payment_url
        FROM running JOIN standing ON standing.id = license_id WHERE running.status = 'past_due'
        UNION ALL
        SELECT 2, 'payment_confirmation', license_id, running.id, label, NULL, NULL, NULL, NULL, pending_payment_url
        FROM running JOIN standing ON standing.id = license_id WHERE pending_payment_url IS NOT NULL
        UNION ALL
        SELECT 3, 'license_suspended', id, NULL, label, NULL, NULL, NULL, status_message, NULL
        FROM standing WHERE status = 'suspended'
        UNION ALL
        SELECT 4, 'over_limit', license_usage.license_id, NULL, label, NULL, license_usage.resource, used - most,
            NULL, NULL
        FROM overage_candidates
            JOIN licenses ON licenses.id = overage_candidates.license_id AND licenses.status <> 'cancelled'
            JOIN license_usage ON license_usage.license_id = licenses.id
            CROSS JOIN LATERAL (VALUES {_LIMITS}) AS limits (resource, most)
        WHERE limits.resource = license_usage.resource AND used > most
        UNION ALL
        SELECT 5, 'subscription_ending', license_id, running.id, label, current_period_end, NULL, NULL, NULL, NULL
        FROM running JOIN standing ON standing.id = license_id WHERE cancel_at_period_end
        UNION ALL
        SELECT 6, 'license_expired', id, NULL, label, greatest(expiry_date, grace_until), NULL, NULL, NULL, NULL
        FROM standing WHERE has_expired AND greatest(expiry_date, grace_until) > :lately
        UNION ALL
        SELECT 7, 'license_expiring', id, NULL, label, expiry_date, NULL, NULL, NULL, NULL
        FROM standing
        WHERE status = 'active' AND NOT has_expired AND expiry_date <= :soon
            AND NOT EXISTS (SELECT FROM running WHERE license_id = standing.id)
    )
    SELECT kind, license_id, subscription_id, label, at, resource, over, message, payment_url, count(*) OVER () AS total
    FROM found ORDER BY urgency, at, license_id, resource LIMIT :most
    """  # noqa: S608  names of our own columns
)


async def standing(tx: CustomerTransaction, user_id: UUID, now: datetime) -> Standing | None:
    """None where there is no such user any more."""
    works = effective_status(now) == Status.ACTIVE
    statement = select(
        User.is_active,
        User.email_verified_at,
        _count(License),
        _count(License, works),
        _count(Subscription, Subscription.status != SubscriptionStatus.CANCELLED),
        _count(Invoice, Invoice.status == InvoiceStatus.OPEN),
        _count(Invoice),
    ).where(User.id == user_id)
    row = (await tx.session.execute(statement)).one_or_none()
    return None if row is None else Standing(*row)


async def newest_licenses(tx: CustomerTransaction, most: int) -> Sequence[Shown]:
    return [Shown(*row) for row in await tx.session.execute(NEWEST_FIRST.sorted(visible()).limit(most))]


async def attention(tx: CustomerTransaction, now: datetime, most: int) -> tuple[list[Found], int]:
    """The most urgent, and how many there are in all."""
    names = {"now": now, "lately": now - LATELY, "soon": now + SOON, "most": most}
    rows = (await tx.session.execute(ATTENTION, names)).all()
    return [Found(*row[:-1]) for row in rows], rows[0].total if rows else 0


async def newest_invoices(tx: CustomerTransaction, most: int) -> Sequence[Invoice]:
    return (await tx.session.scalars(NEWEST_INVOICES.sorted(invoices()).limit(most))).all()


async def next_period(tx: CustomerTransaction, now: datetime) -> NextPeriod | None:
    """Of the subscription that is renewed first."""
    pending = aliased(Plan, name="pending_plan")
    statement = (
        select(Subscription, Plan, pending)
        .join(Plan, Plan.id == Subscription.plan_id)
        .outerjoin(pending, pending.id == Subscription.pending_plan_id)
        .where(
            Subscription.status != SubscriptionStatus.CANCELLED,
            ~Subscription.cancel_at_period_end,
            Subscription.current_period_end > now,
        )
        .order_by(Subscription.current_period_end, Subscription.id)
        .limit(1)
    )
    row = (await tx.session.execute(statement)).one_or_none()
    return None if row is None else NextPeriod(row[0], row[1], row[2])


def _count(table: Any, *which: ColumnElement[bool]) -> Any:
    return select(func.count()).select_from(table).where(*which).scalar_subquery()
