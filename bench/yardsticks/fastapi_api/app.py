"""FastAPI, Uvicorn, SQLAlchemy's async ORM, Pydantic and redis-py: the API's routes, as the manuals of these suggest.

A session of the database for each request, which begins a transaction; models of the tables; Pydantic models of the
answers; a dependency for the limit of the address, one for the signed-in user. A token is verified at each request, and
its session and the user's limit are looked up in Redis, in one pipeline. It reads the tables of the billing API, with a
WHERE in place of row-level security. It neither logs nor counts requests. It runs in an environment of its own.

uvicorn bench.yardsticks.fastapi_api.app:app --loop uvloop --http httptools --no-access-log
"""

import os  # this file stands outside the project: it has no settings
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import jwt
import stripe
from fastapi import Depends, FastAPI, HTTPException, Request
from redis.asyncio import Redis
from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import joinedload

from bench.yardsticks.fastapi_api import overview
from bench.yardsticks.fastapi_api.models import Checkout, Invoice, License, Plan, Usage, User
from bench.yardsticks.fastapi_api.schemas import (
    CheckoutIn,
    CheckoutOut,
    CurrentUser,
    InvoiceOut,
    InvoicesOut,
    LicenseOut,
    LicensesOut,
    MeIn,
    MeOut,
    Money,
    OverviewOut,
    PlanOut,
    PlansOut,
    ResourceOut,
    UsageOut,
)

engine = create_async_engine(os.environ["YARD_DATABASE_URL"], pool_size=20, max_overflow=0)  # noqa: TID251
sessions = async_sessionmaker(engine, expire_on_commit=False)
redis = Redis.from_url(os.environ["REDIS_URL"], decode_responses=True, max_connections=256)  # noqa: TID251
payments = stripe.StripeClient(
    "sk_test_bench",
    http_client=stripe.HTTPXClient(allow_sync_methods=False),
    base_addresses={"api": os.environ["STRIPE_API_BASE"]},  # noqa: TID251
)
JWT_SECRET = os.environ["YARD_JWT_SECRET"]  # noqa: TID251
MOST_A_MINUTE = 1_000_000
"""The limits are looked up and never reached, as in the billing API's settings for this benchmark."""


async def database() -> AsyncIterator[AsyncSession]:
    async with sessions() as session:
        yield session


def counter(who: str) -> str:
    return f"yard:rate:{who}:{int(time.time()) // 60}"  # noqa: TID251


async def limited(request: Request) -> None:
    async with redis.pipeline(transaction=False) as pipe:
        key = counter(request.client.host if request.client else "")
        pipe.incr(key)
        pipe.expire(key, 120)
        count, _ = await pipe.execute()
    if count > MOST_A_MINUTE:
        raise HTTPException(429)


async def current_user(request: Request) -> CurrentUser:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise HTTPException(401)
    try:
        claims = jwt.decode(token, JWT_SECRET, ["HS256"], options={"require": ["exp", "sub", "sid"]})
    except jwt.InvalidTokenError:
        raise HTTPException(401) from None
    async with redis.pipeline(transaction=False) as pipe:
        key = counter(claims["sub"])
        pipe.get(f"yard:session:{claims['sid']}")
        pipe.incr(key)
        pipe.expire(key, 120)
        stored, count, _ = await pipe.execute()
    if stored is None:
        raise HTTPException(401)
    if count > MOST_A_MINUTE:
        raise HTTPException(429)
    return CurrentUser.model_validate_json(stored)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield
    await engine.dispose()
    await redis.aclose()


app = FastAPI(lifespan=lifespan, dependencies=[Depends(limited)])
Database = Annotated[AsyncSession, Depends(database)]
Signed = Annotated[CurrentUser, Depends(current_user)]


async def page(session: AsyncSession, query: Select[Any], limit: int, offset: int) -> tuple[list[Any], int]:
    total = await session.scalar(select(func.count()).select_from(query.order_by(None).subquery()))
    rows = (await session.scalars(query.limit(limit).offset(offset))).all()
    return list(rows), total or 0


@app.get("/api/v1/plans")
async def list_plans(session: Database) -> PlansOut:
    query = select(Plan).where(Plan.is_active).order_by(Plan.price_monthly, Plan.id)
    items = [
        PlanOut(
            price_monthly=Money(amount=plan.price_monthly, currency=plan.currency),
            price_yearly=Money(amount=plan.price_yearly, currency=plan.currency),
            **{name: getattr(plan, name) for name in PlanOut.model_fields if not name.startswith("price_")},
        )
        for plan in await session.scalars(query)
    ]
    return PlansOut(items=items, total=len(items), limit=100, offset=0)


@app.get("/api/v1/me")
async def get_me(user: Signed, session: Database) -> MeOut:
    return MeOut.model_validate(await session.get_one(User, user.id))


@app.patch("/api/v1/me")
async def change_me(user: Signed, session: Database, changes: MeIn) -> MeOut:
    me = await session.get_one(User, user.id)
    for name, value in changes.model_dump(exclude_unset=True).items():
        setattr(me, name, value)
    await session.commit()
    return MeOut.model_validate(me)


@app.get("/api/v1/licenses")
async def list_licenses(user: Signed, session: Database, limit: int = 20, offset: int = 0) -> LicensesOut:
    query = select(License).where(License.user_id == user.id).order_by(License.created_at.desc(), License.id.desc())
    rows, total = await page(session, query.options(joinedload(License.of_plan)), limit, offset)
    items = [LicenseOut.model_validate(row) for row in rows]
    return LicensesOut(items=items, total=total, limit=limit, offset=offset)


async def own_license(session: AsyncSession, user: CurrentUser, license_id: uuid.UUID) -> License:
    query = select(License).where(License.id == license_id, License.user_id == user.id)
    found = await session.scalar(query.options(joinedload(License.of_plan)))
    if found is None:
        raise HTTPException(404)
    return found


@app.get("/api/v1/licenses/{license_id}")
async def get_license(user: Signed, session: Database, license_id: uuid.UUID) -> LicenseOut:
    return LicenseOut.model_validate(await own_license(session, user, license_id))


@app.get("/api/v1/licenses/{license_id}/usage")
async def get_usage(user: Signed, session: Database, license_id: uuid.UUID) -> UsageOut:
    license_ = await own_license(session, user, license_id)
    rows = await session.scalars(select(Usage).where(Usage.license_id == license_id))
    used = {row.resource: row.used for row in rows}
    held = await redis.hgetall(f"yard:held:{license_id}")
    resources = {}
    for name in ("accounts", "domains", "databases", "emails", "storage_gb"):
        limit, now = getattr(license_, f"max_{name}"), max(0, used.get(name, 0))
        over = 0 if limit is None else max(0, now - limit)
        resources[name] = ResourceOut(used=now, held=int(held.get(name, 0)), limit=limit, over=over)
    return UsageOut(resources=resources)


def invoice_out(row: Invoice) -> InvoiceOut:
    return InvoiceOut(
        amount_due=Money(amount=row.amount_due, currency=row.currency),
        amount_paid=Money(amount=row.amount_paid, currency=row.currency),
        **{name: getattr(row, name) for name in InvoiceOut.model_fields if not name.startswith("amount_")},
    )


@app.get("/api/v1/invoices")
async def list_invoices(user: Signed, session: Database, limit: int = 20, offset: int = 0) -> InvoicesOut:
    query = select(Invoice).where(Invoice.user_id == user.id).order_by(Invoice.created_at.desc(), Invoice.id.desc())
    rows, total = await page(session, query, limit, offset)
    items = [invoice_out(row) for row in rows]
    return InvoicesOut(items=items, total=total, limit=limit, offset=offset)


@app.get("/api/v1/overview")
async def get_overview(user: Signed, session: Database) -> OverviewOut:
    invoices = await overview.newest_invoices(session, user.id)
    return OverviewOut(
        counts=await overview.counts(session, user.id),
        attention=await overview.attention(session, user.id),
        licenses=await overview.cards(session, user.id),
        next_renewal=await overview.next_renewal(session, user.id),
        recent_invoices=[invoice_out(row) for row in invoices],
    )


@app.post("/api/v1/checkout/sessions", status_code=201)
async def start_checkout(user: Signed, session: Database, order: CheckoutIn) -> CheckoutOut:
    me, plan = await session.get_one(User, user.id), await session.get_one(Plan, order.plan_id)
    checkout = Checkout(user_id=user.id, plan_id=plan.id, interval=order.interval)
    session.add(checkout)
    await session.commit()
    opened = await payments.v1.checkout.sessions.create_async(
        {
            "mode": "subscription",
            "customer": me.stripe_customer_id or "",
            "client_reference_id": str(checkout.id),
            "line_items": [{"price": plan.stripe_price_id_monthly or "", "quantity": 1}],
            "success_url": "http://127.0.0.1/checkout/return",
            "cancel_url": "http://127.0.0.1/checkout/return?cancelled=1",
        },
        {"idempotency_key": f"checkout-{checkout.id}"},
    )
    checkout.stripe_session_id, checkout.url = opened.id, opened.url
    await session.commit()
    return CheckoutOut(url=opened.url or "", session_id=checkout.id)
