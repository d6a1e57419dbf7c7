"""Test data: the licenses that all contenders are asked about, the requests, and the contents of Redis.

Every license allows 50 databases and has used 7, so every contender has to say 43. The validator reads the projection,
written as workers write it. The yardsticks read a hash for each license with the few fields that the question needs,
which is the least that one can read: `yard:license:<key>` → status, expires, features, limit:…, used:…,
and `yard:key:<id>` → secret.
"""

from collections.abc import Sequence
from typing import Final
from uuid import uuid4

from redis.asyncio import Redis

from core.clock import unix_time
from core.crypto.signature import sign
from core.hotstore.client import HotStoreClient
from core.hotstore.keys import BUCKETS
from core.hotstore.writer import UsageTotal, Writer
from core.licensing import key as license_key
from core.licensing.record import PERMISSIONS, ApiKeyRecord, LicenseRecord
from core.licensing.state import Status
from core.settings import Secrets

PATH: Final = "/api/v1/nextpanel/validate-license"
KEY_ID: Final = "npk_bench"
SECRET: Final = "a-secret-for-the-bench-alone-0123456789"  # noqa: S105  # guards nothing
LIMIT: Final = 50
USED: Final = 7
_FOREVER: Final = 4_000_000_000
_AT_ONCE: Final = 5_000
_NOBODY_RELAYS: Final = 86_400  # seconds: `as_of` must not age during a measurement


def make_keys(number: int, secrets: Secrets) -> list[str]:
    return [license_key.generate(secrets.license_checksum_key) for _ in range(number)]


async def fill(url: str, keys: Sequence[str], secrets: Secrets, *, yardsticks: bool = True) -> None:
    async with Redis.from_url(url) as redis:
        await redis.flushall()
        await _fill_projection(redis, keys, secrets)
        if yardsticks:
            await _fill_yardsticks(redis, keys)


async def add(url: str, keys: Sequence[str], secrets: Secrets) -> None:
    """Adds licenses to those that `fill` has written."""
    async with Redis.from_url(url) as redis:
        await _add(Writer(HotStoreClient(redis)), keys, secrets)


async def _fill_projection(redis: Redis, keys: Sequence[str], secrets: Secrets) -> None:
    writer = Writer(HotStoreClient(redis))
    await writer.load_functions()
    tokens = await writer.begin_rebuild(range(BUCKETS), holds_lost=False)
    await writer.apply_api_keys([_api_key(KEY_ID, None, secrets)])
    await _add(writer, keys, secrets)
    for bucket, token in tokens.items():
        await writer.mark_loaded(bucket, token)
    await writer.publish_synced(1, unix_time() + _NOBODY_RELAYS)


async def _add(writer: Writer, keys: Sequence[str], secrets: Secrets) -> None:
    for start in range(0, len(keys), _AT_ONCE):
        some = [secrets.index.digest("license_key", key) for key in keys[start : start + _AT_ONCE]]
        await writer.apply_licenses([(digest, _record()) for digest in some])
        await writer.apply_usage([UsageTotal(digest, "databases", USED, 1, 1) for digest in some])


async def give_own_keys(url: str, keys: Sequence[str], secrets: Secrets) -> None:
    """Gives each of these licenses an API key of its own; `own_key_id` names it."""
    hashes = [secrets.index.digest("license_key", key) for key in keys]
    records = [_api_key(own_key_id(place), digest, secrets) for place, digest in enumerate(hashes)]
    async with Redis.from_url(url) as redis:
        for start in range(0, len(records), _AT_ONCE):
            await Writer(HotStoreClient(redis)).apply_api_keys(records[start : start + _AT_ONCE])


def own_key_id(place: int) -> str:
    return f"npk_own{place:017d}"


def _api_key(key_id: str, license_hash: bytes | None, secrets: Secrets) -> ApiKeyRecord:
    return ApiKeyRecord(
        epoch=1,
        version=1,
        key_id=key_id,
        active=True,
        license_hash=license_hash,
        permissions=PERMISSIONS,
        current_secret=secrets.sealer.seal(SECRET.encode(), context=f"api_key:{key_id}"),
    )


async def _fill_yardsticks(redis: Redis, keys: Sequence[str]) -> None:
    row = {
        "status": "active",
        "expires": str(_FOREVER),
        "features": "create_database,create_domain",
        "limit:databases": str(LIMIT),
        "used:databases": str(USED),
    }
    async with redis.pipeline(transaction=False) as pipe:
        pipe.set(f"yard:key:{KEY_ID}", SECRET)
        for key in keys:
            pipe.hset(f"yard:license:{key}", mapping=row)
        await pipe.execute()


def _record() -> LicenseRecord:
    return LicenseRecord(
        epoch=1,
        version=1,
        license_id=uuid4(),
        status=Status.ACTIVE,
        valid_from=0.0,
        valid_until=float(_FOREVER),
        features={"backups": True, "white_label": False},
        limits={"accounts": 5, "domains": 25, "databases": LIMIT, "emails": 100, "storage_gb": 100},
    )


def signed_requests(keys: Sequence[str]) -> list[bytes]:
    """One request for each key, signed now; a signature is good for five minutes."""
    return [signed_request(key) for key in keys]


def signed_request(key: str, feature: str = "create_database", key_id: str = KEY_ID) -> bytes:
    body = f'{{"license_key":"{key}","feature":"{feature}"}}'.encode()
    signature = sign(key_id, SECRET, method="POST", target=PATH, body=body, now=unix_time())
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"NP-Signature: {signature}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
