"""Queries of the overview, one for each part of it."""

import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from bench.yardsticks.fastapi_api.models import Invoice, License, Subscription, Usage
from bench.yardsticks.fastapi_api.schemas import AttentionOut, CardOut, CountsOut, Money, RenewalOut, UsedOut

RESOURCES = ("accounts", "domains", "databases", "emails", "storage_gb")


async def counts(session: AsyncSession, user_id: uuid.UUID) -> CountsOut:
    async def number(table: Any, *which: Any) -> int:
        return (
            await session.scalar(select(func.count()).select_from(table).where(table.user_id == user_id, *which)) or 0
        )

    return CountsOut(
        licenses=await number(License),
        active_licenses=await number(License, License.status == literal_column("'active'")),
        subscriptions=await number(Subscription, Subscription.status != "cancelled"),
        open_invoices=await number(Invoice, Invoice.status == literal_column("'open'")),
        invoices=await number(Invoice),
    )


async def attention(session: AsyncSession, user_id: uuid.UUID) -> list[AttentionOut]:
    found: list[AttentionOut] = []
    running = select(Subscription).where(Subscription.user_id == user_id, Subscription.status != "cancelled")
    paid_for = set()
    for one in await session.scalars(running):
        paid_for.add(one.license_id)
        if one.status == "past_due":
            found.append(AttentionOut(kind="payment_past_due", license_id=one.license_id, subscription_id=one.id))
        if one.cancel_at_period_end:
            ends = one.current_period_end
            found.append(
                AttentionOut(kind="subscription_ending", license_id=one.license_id, subscription_id=one.id, at=ends)
            )
    soon = select(License).where(License.user_id == user_id, License.expiry_date <= func.now() + timedelta(days=14))
    found += [
        AttentionOut(kind="license_expiring", license_id=license_.id, at=license_.expiry_date)
        for license_ in await session.scalars(soon)
        if license_.id not in paid_for
    ]
    used = select(Usage, License).join(License, License.id == Usage.license_id).where(Usage.user_id == user_id)
    for usage, license_ in await session.execute(used):
        limit = getattr(license_, f"max_{usage.resource}")
        if limit is not None and usage.used > limit:
            over = usage.used - limit
            found.append(AttentionOut(kind="over_limit", license_id=license_.id, resource=usage.resource, over=over))
    return found[:20]


async def cards(session: AsyncSession, user_id: uuid.UUID) -> list[CardOut]:
    newest = select(License).where(License.user_id == user_id).order_by(License.created_at.desc(), License.id.desc())
    licenses = (await session.scalars(newest.options(joinedload(License.of_plan)).limit(20))).all()
    ids = [one.id for one in licenses]
    paying = select(Subscription).where(Subscription.license_id.in_(ids), Subscription.status != "cancelled")
    subscriptions = {one.license_id: one.id for one in await session.scalars(paying)}
    totals = await session.scalars(select(Usage).where(Usage.license_id.in_(ids)))
    used = {(one.license_id, one.resource): one.used for one in totals}
    return [
        CardOut(
            subscription_id=subscriptions.get(one.id),
            usage={name: _used(used.get((one.id, name), 0), getattr(one, f"max_{name}")) for name in RESOURCES},
            **{name: getattr(one, name) for name in CardOut.model_fields if name not in {"subscription_id", "usage"}},
        )
        for one in licenses
    ]


def _used(used: int, limit: int | None) -> UsedOut:
    return UsedOut(used=used, limit=limit, over=0 if limit is None else max(0, used - limit))


async def next_renewal(session: AsyncSession, user_id: uuid.UUID) -> RenewalOut | None:
    renewed = select(Subscription).where(
        Subscription.user_id == user_id,
        Subscription.status != "cancelled",
        Subscription.cancel_at_period_end.is_(False),
        Subscription.current_period_end > func.now(),
    )
    first = renewed.order_by(Subscription.current_period_end, Subscription.id).limit(1)
    one = await session.scalar(first.options(joinedload(Subscription.plan)))
    if one is None:
        return None
    price = one.plan.price_monthly if one.interval == "month" else one.plan.price_yearly
    return RenewalOut(
        at=one.current_period_end,
        subscription_id=one.id,
        license_id=one.license_id,
        plan=one.plan.name,
        interval=one.interval,
        amount=Money(amount=price, currency=one.plan.currency),
    )


async def newest_invoices(session: AsyncSession, user_id: uuid.UUID) -> Sequence[Invoice]:
    query = select(Invoice).where(Invoice.user_id == user_id).order_by(Invoice.created_at.desc(), Invoice.id.desc())
    return (await session.scalars(query.limit(5))).all()
