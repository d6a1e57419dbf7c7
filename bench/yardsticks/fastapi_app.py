"""FastAPI, Uvicorn and redis-py: signature checked, one round trip to Redis. It runs in an environment of its own.

uvicorn bench.yardsticks.fastapi_app:app --loop uvloop --http httptools --no-access-log
"""

import hashlib
import hmac
import os  # this file stands outside the project: it has no settings
import time
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel  # noqa: TID251  # FastAPI's own
from redis.asyncio import Redis

app = FastAPI()
redis = Redis.from_url(os.environ["REDIS_URL"], decode_responses=True, max_connections=256)  # noqa: TID251
RESOURCES = {"create_database": "databases", "create_domain": "domains"}


class Ask(BaseModel):
    license_key: str
    feature: str


def checked(request: Request, body: bytes, parts: dict[str, str], secret: str | None) -> bool:
    if secret is None or not -30 <= time.time() - int(parts["t"]) <= 300:  # noqa: TID251
        return False
    signed = ("NPv1", request.method, request.url.path, parts["t"], parts["n"], "", hashlib.sha256(body).hexdigest())
    mac = hmac.new(secret.encode(), "\n".join(signed).encode(), "sha256").hexdigest()
    return hmac.compare_digest(mac, parts["v1"])


@app.post("/api/v1/nextpanel/validate-license")
async def validate_license(ask: Ask, request: Request) -> dict[str, Any]:
    header = request.headers.get("np-signature")
    if header is None:
        raise HTTPException(401)
    parts = dict(part.split("=", 1) for part in header.split(","))
    resource = RESOURCES[ask.feature]
    async with redis.pipeline(transaction=False) as pipe:
        pipe.get(f"yard:key:{parts['k']}")
        fields = ("status", "expires", "features", f"limit:{resource}", f"used:{resource}")
        pipe.hmget(f"yard:license:{ask.license_key}", fields)
        secret, (status, expires, features, limit, used) = await pipe.execute()
    if not checked(request, await request.body(), parts, secret):
        raise HTTPException(401)
    if status != "active" or int(expires) < time.time() or ask.feature not in features.split(","):  # noqa: TID251
        return {"valid": False, "remaining_quota": 0}
    return {"valid": True, "remaining_quota": int(limit) - int(used)}
