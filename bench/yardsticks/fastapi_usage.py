"""FastAPI, Uvicorn and SQLAlchemy on asyncpg: signature checked, each report committed in a transaction of its own.

Written as the manuals of these suggest: a session for each request, an INSERT of the event under its unique key, an
UPDATE of the total, then COMMIT. It runs in an environment of its own.

uvicorn bench.yardsticks.fastapi_usage:app --loop uvloop --http httptools --no-access-log
"""

import hashlib
import hmac
import os  # this file stands outside the project: it has no settings
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel, Field  # noqa: TID251  # FastAPI's own
from sqlalchemy import BigInteger, Identity, UniqueConstraint, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

engine = create_async_engine(os.environ["YARD_DATABASE_URL"], pool_size=20, max_overflow=0)  # noqa: TID251
sessions = async_sessionmaker(engine, expire_on_commit=False)


class Table(DeclarativeBase):
    pass


class Key(Table):
    __tablename__ = "yard_keys"
    key_id: Mapped[str] = mapped_column(primary_key=True)
    secret: Mapped[str]


class License(Table):
    __tablename__ = "yard_licenses"
    license_key: Mapped[str] = mapped_column(primary_key=True)
    databases: Mapped[int]


class Event(Table):
    __tablename__ = "yard_events"
    __table_args__ = (UniqueConstraint("license_key", "idempotency_key"),)
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    license_key: Mapped[str]
    idempotency_key: Mapped[str]
    resource: Mapped[str]
    action: Mapped[str]
    count: Mapped[int]


class Total(Table):
    __tablename__ = "yard_totals"
    license_key: Mapped[str] = mapped_column(primary_key=True)
    resource: Mapped[str] = mapped_column(primary_key=True)
    used: Mapped[int]


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


class Report(BaseModel):
    license_key: str = Field(max_length=64)
    resource: Literal["databases", "domains", "emails"]
    action: Literal["created", "deleted"]
    count: int = Field(ge=1)


def holds(request: Request, body: bytes, parts: dict[str, str], idempotency_key: str, secret: str | None) -> bool:
    if secret is None or not -30 <= time.time() - int(parts["t"]) <= 300:  # noqa: TID251
        return False
    digest = hashlib.sha256(body).hexdigest()
    signed = ("NPv1", request.method, request.url.path, parts["t"], parts["n"], idempotency_key, digest)
    mac = hmac.new(secret.encode(), "\n".join(signed).encode(), "sha256").hexdigest()
    return hmac.compare_digest(mac, parts["v1"])


@app.post("/api/v1/billing/usage")
async def report_usage(report: Report, request: Request) -> dict[str, Any]:
    header, idempotency_key = request.headers.get("np-signature"), request.headers.get("idempotency-key")
    if header is None or idempotency_key is None:
        raise HTTPException(401)
    parts = dict(part.split("=", 1) for part in header.split(","))
    async with sessions() as session, session.begin():
        secret = await session.scalar(select(Key.secret).where(Key.key_id == parts["k"]))
        if not holds(request, await request.body(), parts, idempotency_key, secret):
            raise HTTPException(401)
        limit = await session.scalar(select(License.databases).where(License.license_key == report.license_key))
        if limit is None:
            raise HTTPException(404)
        event = insert(Event).values(idempotency_key=idempotency_key, **report.model_dump())
        new = await session.scalar(event.on_conflict_do_nothing().returning(Event.id))
        change = (report.count if report.action == "created" else -report.count) if new else 0
        total = insert(Total).values(license_key=report.license_key, resource=report.resource, used=change)
        added = total.on_conflict_do_update(
            index_elements=["license_key", "resource"], set_={"used": Total.used + change}
        )
        used = (await session.execute(added.returning(Total.used))).scalar_one()
    return {"success": True, "quota_remaining": max(0, limit - max(0, used))}
