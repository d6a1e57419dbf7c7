"""Plan repository: every SQL statement about plans and their prices."""

from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

from sqlalchemy import bindparam, select
from sqlalchemy.dialects.postgresql import insert

from core.errors import NotFound, Unavailable
from core.licensing.plan import LIMITS
from db.models.licensing import Interval, Plan, PlanPrice
from db.reads import Record, Statement
from db.unit_of_work import SystemTransaction, Transaction

_NOT_ON_SALE: Final = "no such plan is on sale; see GET /api/v1/plans"
ON_SALE: Final = Statement(
    select(
        Plan.id,
        Plan.name,
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
        raise Unavailable(f"{plan.name} is not known to Stripe yet; run: python -m billing_api seed")
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
