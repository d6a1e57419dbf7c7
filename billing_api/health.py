"""Whether this process is alive, and whether it can serve."""

import asyncio
from typing import Literal

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from billing_api.access import Permission
from core.telemetry import logger
from db.unit_of_work import Database

_PATIENCE_SECONDS = 2


class Health(msgspec.Struct, frozen=True):
    status: Literal["ok", "unavailable"]


@get("/health/live", permission=Permission.PUBLIC, tags=["plumbing"], summary="The process answers")
async def live() -> Health:
    return Health("ok")


@get("/health/ready", permission=Permission.PUBLIC, tags=["plumbing"], summary="Its database answers too")
async def ready(database: NamedDependency[Database]) -> Response[Health]:
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS), database.engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
    except (SQLAlchemyError, OSError, TimeoutError) as failure:
        logger().warning("health.not_ready", cause=type(failure).__name__)
        return Response(Health("unavailable"), status_code=503)
    return Response(Health("ok"))
