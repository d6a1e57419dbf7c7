"""Overview repository: one statement, however much the customer owns.

Row security shows it the customer's own rows alone. Each table has an index by user, so that other customers' rows cost
nothing. Its lists come as JSON, because the rows of a statement all have the same columns
(docs/decisions/0048-one-statement.md).
"""

from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    ScalarSelect,
    Select,
    bindparam,
    case,
    column,
    func,
    literal,
    select,
    text,
    true,
)
from sqlalchemy.orm import aliased

from billing_api.commerce.invoices.repository import NEWEST_INVOICES
from billing_api.licensing.licenses.repository import NEWEST_FIRST, effective_status, subscription_id
from billing_api.portal.overview.views import Found
from core.licensing.plan import RESOURCES
from core.licensing.state import Status
from db.models.commerce import Invoice, InvoiceStatus, Subscription, SubscriptionStatus
from db.models.identity import User
from db.models.licensing import License, Plan
from db.models.usage import LicenseUsage
from db.reads import OwnStatement

SOON: Final = timedelta(days=14)
"""How long before its end a license that nothing renews is told of."""
LATELY: Final = timedelta(days=30)
"""For how long a license that has expired is told of."""

MOST_ATTENTION: Final = 20

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
    FROM found ORDER BY urgency, at, license_id, resource LIMIT {MOST_ATTENTION}
    """  # noqa: S608  names of our own columns
).bindparams(*(bindparam(name, type_=License.created_at.type) for name in ("now", "lately", "soon")))
"""The most urgent, and how many there are in all."""


MOST_LICENSES: Final = 20
MOST_INVOICES: Final = 5

_NOW: Final[ColumnElement[datetime]] = bindparam("now", type_=License.created_at.type)
_INSTANTS: Final = {"now": timedelta(0), "lately": -LATELY, "soon": SOON}


def names_of(user_id: UUID, now: datetime) -> dict[str, Any]:
    """The bind parameters of `OVERVIEW`."""
    return {"user_id": user_id} | {name: now + away for name, away in _INSTANTS.items()}


def _list(rows: Any) -> ScalarSelect[Any]:
    """SQL: rows as one JSON text, in their order."""
    each = rows.subquery()
    return select(func.coalesce(func.json_agg(each.table_valued()), text("'[]'::json"))).scalar_subquery()


def _money(amount: Any, currency: Any) -> Any:
    return func.json_build_object("amount", amount, "currency", currency)


def _licenses() -> Select[*tuple[Any, ...]]:
    by_resource = [part for name in RESOURCES for part in (name, getattr(License, f"max_{name}"))]
    used = select(func.json_object_agg(LicenseUsage.resource, LicenseUsage.used))
    shown = select(
        License.id,
        License.label,
        (literal("…") + License.key_hint).label("key_hint"),
        Plan.name.label("plan"),
        License.license_type,
        effective_status(_NOW).label("status"),
        License.status_message,
        License.provisioning,
        subscription_id().label("subscription_id"),
        License.expiry_date,
        License.grace_until,
        License.auto_renew,
        func.json_build_object(*by_resource).label("limits"),
        used.where(LicenseUsage.license_id == License.id).correlate(License).scalar_subquery().label("used"),
    ).join(Plan, Plan.id == License.plan_id)
    return NEWEST_FIRST.sorted(shown).limit(MOST_LICENSES)


def _invoices() -> Select[*tuple[Any, ...]]:
    shown = select(
        Invoice.id,
        Invoice.number,
        Invoice.subscription_id,
        _money(Invoice.amount_due, Invoice.currency).label("amount_due"),
        _money(Invoice.amount_paid, Invoice.currency).label("amount_paid"),
        Invoice.status,
        Invoice.invoice_pdf_url,
        Invoice.created_at,
        Invoice.due_date,
        Invoice.paid_at,
    ).where(Invoice.status != InvoiceStatus.DRAFT)
    return NEWEST_INVOICES.sorted(shown).limit(MOST_INVOICES)


def _next_period() -> Select[*tuple[Any, ...]]:
    """Of the subscription that is renewed first."""
    pending = aliased(Plan, name="pending_plan")
    facts = (
        Subscription.id,
        Subscription.license_id,
        Subscription.interval,
        Subscription.current_period_end,
        Subscription.renewal_amount,
        Subscription.renewal_currency,
        Subscription.pending_from,
        Subscription.pending_interval,
    )
    return (
        select(*facts, _plan(Plan).label("plan"), case((pending.id.is_not(None), _plan(pending))).label("pending_plan"))
        .join(Plan, Plan.id == Subscription.plan_id)
        .outerjoin(pending, pending.id == Subscription.pending_plan_id)
        .where(
            Subscription.status != SubscriptionStatus.CANCELLED,
            ~Subscription.cancel_at_period_end,
            Subscription.current_period_end > _NOW,
        )
        .order_by(Subscription.current_period_end, Subscription.id)
        .limit(1)
    )


def _plan(plan: Any) -> Any:
    return func.json_build_object(
        *("name", plan.name, "currency", plan.currency),
        *("price_monthly", plan.price_monthly, "price_yearly", plan.price_yearly),
    )


def _overview() -> Select[*tuple[Any, ...]]:
    works = effective_status(_NOW) == Status.ACTIVE
    runs = Subscription.status != SubscriptionStatus.CANCELLED
    is_open = Invoice.status == InvoiceStatus.OPEN
    # Each table is counted in one pass.
    licenses = select(func.count().label("number"), func.count().filter(works).label("active")).select_from(License)
    invoices = select(func.count().label("number"), func.count().filter(is_open).label("open")).select_from(Invoice)
    of_licenses, of_invoices = licenses.subquery("of_licenses"), invoices.subquery("of_invoices")
    found = ATTENTION.columns(*map(column, (*Found.__struct_fields__, "total")))
    return (
        select(
            User.id,
            User.is_active,
            User.email_verified_at,
            of_licenses.c.number.label("licenses"),
            of_licenses.c.active.label("active_licenses"),
            select(func.count()).select_from(Subscription).where(runs).scalar_subquery().label("subscriptions"),
            of_invoices.c.number.label("invoices"),
            of_invoices.c.open.label("open_invoices"),
            _list(_licenses()).label("newest_licenses"),
            _list(found).label("attention"),
            _list(_next_period()).label("next_period"),
            _list(_invoices()).label("newest_invoices"),
        )
        .select_from(User)
        .join(of_licenses, true())
        .join(of_invoices, true())
        .where(User.id == bindparam("user_id", type_=User.id.type))
    )


OVERVIEW: Final = OwnStatement(_overview())
"""One row, or none where there is no such user any more. Lists are JSON, in the names of `views`."""
