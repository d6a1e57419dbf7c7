"""Plan repository: every SQL statement about plans and their prices."""

from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

from sqlalchemy import bindparam, func, or_, select
from sqlalchemy.dialects.postgresql import insert

from core.errors import NotFound, Unavailable
from core.licensing.plan import LIMITS
from db.models.commerce import Subscription, SubscriptionStatus
from db.models.licensing import Interval, Plan, PlanPrice
from db.reads import Record, Statement
from db.unit_of_work import StaffTransaction, SystemTransaction, Transaction

_NOT_ON_SALE: Final = "no such plan is on sale; see GET /api/v1/plans"
ON_SALE: Final = Statement(
    select(
        Plan.id,
        Plan.code,
        Plan.name,
        Plan.trial_days,
        Plan.currency_prices,
        Plan.license_type,
        Plan.description,
        Plan.currency,
        Plan.price_monthly,
        Plan.price_yearly,
        Plan.features,
        *(getattr(Plan, limit) for limit in LIMITS),
    )
    .where(Plan.is_active)
    .order_by(Plan.price_monthly, Plan.id)
)
"""The cheapest first."""
_ONE_ON_SALE: Final = Statement(
    select(
        Plan.name,
        Plan.currency,
        Plan.price_monthly,
        Plan.price_yearly,
        Plan.currency_prices,
        Plan.trial_days,
        Plan.stripe_price_id_monthly,
        Plan.stripe_price_id_yearly,
    ).where(Plan.id == bindparam("plan_id", type_=Plan.id.type), Plan.is_active)
)


async def offer_of(tx: Transaction, plan_id: UUID) -> Record:
    """What a purchase needs to know of a plan on sale: its prices, their ids at Stripe, its trial."""
    rows = await tx.run(_ONE_ON_SALE, {"plan_id": plan_id})
    if not rows:
        raise NotFound(_NOT_ON_SALE)
    return rows[0]


async def on_offer(tx: Transaction) -> Sequence[Plan]:
    """Cheapest first."""
    return (await tx.session.scalars(select(Plan).where(Plan.is_active).order_by(Plan.price_monthly, Plan.id))).all()


async def one_on_offer(tx: Transaction, plan_id: UUID) -> Plan:
    plan = await tx.session.scalar(select(Plan).where(Plan.id == plan_id, Plan.is_active))
    if plan is None:
        raise NotFound(_NOT_ON_SALE)
    return plan


def price_of(plan: Plan | Record, interval: Interval) -> str:
    """The id of Stripe's price for the plan at this interval."""
    price_id: str | None = plan.stripe_price_id_monthly if interval is Interval.MONTH else plan.stripe_price_id_yearly
    if price_id is None:
        raise Unavailable(f"{plan.name} is not known to Stripe yet; run: python -m billing_api push-plans")
    return price_id


async def store_prices(tx: SystemTransaction, plan_id: UUID, prices: Mapping[Interval, str]) -> None:
    """Stores prices. None is ever deleted: subscriptions keep the price at which they were sold."""
    rows = [{"stripe_price_id": price, "plan_id": plan_id, "interval": interval} for interval, price in prices.items()]
    await tx.session.execute(insert(PlanPrice).values(rows).on_conflict_do_nothing())


async def of_price(tx: Transaction, price_id: str) -> tuple[Plan, Interval] | None:
    """The plan and interval of a Stripe price, also where it is no longer on sale."""
    statement = (
        select(Plan, PlanPrice.interval)
        .join(PlanPrice, PlanPrice.plan_id == Plan.id)
        .where(PlanPrice.stripe_price_id == price_id)
    )
    row = (await tx.session.execute(statement)).one_or_none()
    return (row[0], row[1]) if row else None


async def every_plan(tx: Transaction) -> list[tuple[Plan, int]]:
    """Each plan with the number of its subscriptions that run: those on sale first, the cheapest first."""
    running = (
        select(func.count())
        .where(Subscription.plan_id == Plan.id, Subscription.status != SubscriptionStatus.CANCELLED)
        .correlate(Plan)
        .scalar_subquery()
    )
    order = (Plan.is_active.desc(), Plan.price_monthly, Plan.id)
    return [(row[0], row[1]) for row in await tx.session.execute(select(Plan, running).order_by(*order))]


async def lock(tx: StaffTransaction, plan_id: UUID) -> Plan:
    plan: Plan | None = await tx.session.scalar(select(Plan).where(Plan.id == plan_id).with_for_update())
    if plan is None:
        raise NotFound("there is no such plan; list them with GET admin/plans")
    return plan


async def name_taken(tx: StaffTransaction, *, code: str | None, name: str, besides: UUID) -> str | None:
    """Which of the two another plan has: `code`, `name` or None. The database refuses both, too."""
    same = or_(Plan.code == code, Plan.name == name)
    row = (await tx.session.execute(select(Plan.code).where(same, Plan.id != besides))).first()
    if row is None:
        return None
    return "code" if row[0] == code else "name"


async def retired(tx: Transaction) -> Sequence[Plan]:
    """Those that Stripe has had a price of."""
    priced = select(PlanPrice.plan_id)
    return (await tx.session.scalars(select(Plan).where(~Plan.is_active, Plan.id.in_(priced)))).all()
