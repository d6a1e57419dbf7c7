"""Whether this process is of use: for whoever restarts it, and for whoever waits for the stack to come up."""

import asyncio
import json
from http import HTTPStatus
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from core.health import Readiness
from db.unit_of_work import Database
from workers.rebuild import Rebuild
from workers.status import Page

_ANSWER_WITHIN: Final = 2.0


class Health:
    def __init__(self, database: Database, redis: Redis, rebuild: Rebuild) -> None:
        self.readiness = Readiness()
        self._database = database
        self._redis = redis
        self._rebuild = rebuild

    async def live(self) -> Page:
        """The loop turns. Away partners are no reason to restart it: it waits for them by itself."""
        return Page(b'{"status":"ok"}')

    async def ready(self) -> Page:
        """Both stores answer, and every bucket of the hot store is loaded."""
        postgres, redis = await asyncio.gather(self._postgres_answers(), self._redis_answers())
        conditions = {"postgres": postgres, "redis": redis, "hot_store_loaded": self._rebuild.complete}
        lacking = [name for name, holds in conditions.items() if not holds]
        body = json.dumps({"status": "unavailable" if lacking else "ok", "lacking": lacking}).encode()
        return Page(body, HTTPStatus.SERVICE_UNAVAILABLE if lacking else HTTPStatus.OK)

    async def _postgres_answers(self) -> bool:
        try:
            async with asyncio.timeout(_ANSWER_WITHIN), self._database.engine.connect() as connection:
                await connection.execute(text("SELECT 1"))
        except (SQLAlchemyError, OSError, TimeoutError):
            return False
        return True

    async def _redis_answers(self) -> bool:
        try:
            async with asyncio.timeout(_ANSWER_WITHIN):
                await self._redis.ping()
        except (RedisError, OSError, TimeoutError):
            return False
        return True
