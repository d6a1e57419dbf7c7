"""Litestar, Granian and redis-py: the billing API's own stack doing the validator's work, signature included.

granian --interface asgi --loop uvloop --no-access-log bench.yardsticks.litestar_app:app
"""

import msgspec
from litestar import Litestar, Request, post
from litestar.exceptions import NotAuthorizedException
from redis.asyncio import Redis

from core.clock import unix_time
from core.crypto.signature import SignatureDefect, check_time, holds, parse
from core.settings import process_environment

redis = Redis.from_url(process_environment()["REDIS_URL"], max_connections=256)
RESOURCES = {"create_database": "databases", "create_domain": "domains"}


class Ask(msgspec.Struct):
    license_key: str
    feature: str


class Answer(msgspec.Struct):
    valid: bool
    remaining_quota: int = 0


@post("/api/v1/nextpanel/validate-license", status_code=200)
async def validate_license(data: Ask, request: Request[None, None, None]) -> Answer:  # type: ignore[type-var]  # no user
    signature = parse(request.headers.get("np-signature", "").encode())
    if isinstance(signature, SignatureDefect) or check_time(signature, unix_time()):
        raise NotAuthorizedException
    resource = RESOURCES[data.feature]
    async with redis.pipeline(transaction=False) as pipe:
        pipe.get(f"yard:key:{signature.key_id.decode()}")
        fields = ("status", "expires", "features", f"limit:{resource}", f"used:{resource}")
        pipe.hmget(f"yard:license:{data.license_key}", list(fields))
        secret, (status, expires, features, limit, used) = await pipe.execute()
    body, target = await request.body(), request.url.path.encode()
    if secret is None or not holds(signature, secret, method=b"POST", target=target, idempotency_key=b"", body=body):
        raise NotAuthorizedException
    if status != b"active" or int(expires) < unix_time() or data.feature.encode() not in features.split(b","):
        return Answer(valid=False)
    return Answer(valid=True, remaining_quota=int(limit) - int(used))


app = Litestar([validate_license], openapi_config=None)
