"""World of the worker tests: the hot store, the simulators of partners, and waiting for a state."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from uuid import UUID

import httpx
from redis.asyncio import Redis

from billing_api.licensing.licenses.issuing import Issued
from core.hotstore import codec, keys
from core.ids import new_id
from core.licensing.record import ApiKeyRecord, LicenseRecord
from tests.support.databases import change, rows
from tests.support.rows import STARTER_PLAN
from tests.support.servers import DatabaseUrls

T = TypeVar("T")


async def eventually(look: Callable[[], Awaitable[T | None]], *, within: float = 10) -> T:
    """What `look` says once it is something true."""
    async with asyncio.timeout(within):
        while not (seen := await look()):  # noqa: ASYNC110  what is waited for lies in another process
            await asyncio.sleep(0.01)
    return seen


async def touch(urls: DatabaseUrls, issued: Issued) -> None:
    """A change of a license that raises its version."""
    await change(urls, "UPDATE licenses SET auto_renew = NOT auto_renew WHERE id = :id", id=issued.license.id)


async def many_licenses(urls: DatabaseUrls, user_id: UUID, number: int) -> list[bytes]:
    """So many licenses with one database used each, as nobody has projected them; their hashes."""
    await change(
        urls,
        "INSERT INTO licenses (id, user_id, plan_id, license_key, license_key_hash, license_type, status, features,"
        " fingerprint_policy, provisioning, activation_date, auto_renew, version, max_databases)"
        " SELECT gen_random_uuid(), :user, :plan, '', sha256(convert_to(n::text, 'UTF8')), 'professional', 'active',"
        " '{}', 'none', 'done', now(), false, 1, 5 FROM generate_series(1, :number) AS n",
        user=user_id,
        plan=STARTER_PLAN,
        number=number,
    )
    await change(
        urls,
        "INSERT INTO license_usage (license_id, resource, user_id, used, version)"
        " SELECT id, 'databases', user_id, 1, 1 FROM licenses",
    )
    await change(urls, "DELETE FROM outbox")
    return [row["license_key_hash"] for row in await rows(urls, "SELECT license_key_hash FROM licenses")]


async def an_api_key(urls: DatabaseUrls, issued: Issued, key_id: str) -> None:
    """A key of one license; "fly" is a permission of a release that is still to come."""
    await change(
        urls,
        "INSERT INTO api_keys"
        " (id, user_id, license_id, key_id, key_hash, secret, name, permissions, is_active, version)"
        " VALUES (:id, :user, :license, :key_id, 'h', 's', 'a key',"
        """ '["validate", "usage", "fly"]', true, 1)""",
        id=new_id(),
        user=issued.license.user_id,
        license=issued.license.id,
        key_id=key_id,
    )


class HotStore:
    """The projection as a validator would find it."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis

    async def license(self, license_hash: bytes) -> LicenseRecord | None:
        packed = await self.redis.get(keys.document(keys.short_hash(license_hash)))
        return None if packed is None else codec.decode_license(packed)

    async def api_key(self, key_id: str) -> ApiKeyRecord | None:
        packed = await self.redis.get(keys.api_key(key_id))
        return None if packed is None else codec.decode_api_key(packed)

    async def used(self, license_hash: bytes, resource: str) -> int | None:
        used = await self._hash_field(keys.usage(keys.short_hash(license_hash)), resource)
        return None if used is None else int(used)

    async def loaded(self) -> set[int]:
        """Buckets whose mark says so."""
        marks = [await self._hash_field(keys.mark(bucket), "loaded") for bucket in range(keys.BUCKETS)]
        return {bucket for bucket, mark in enumerate(marks) if mark is not None}

    async def indexed(self) -> int:
        """How many licenses the indexes name."""
        return sum([await self.redis.zcard(keys.index(bucket)) for bucket in range(keys.BUCKETS)])

    async def holding_back(self) -> bool:
        """Whether reservations wait, for some may have been lost."""
        return await self._hash_field(keys.mark(0), "reserve_from") is not None

    async def synced_through(self) -> float | None:
        """Unix seconds."""
        milliseconds = await self._hash_field(keys.SYNC, "synced_through")
        return None if milliseconds is None else int(milliseconds) / 1000

    async def has_version(self, issued: Issued, version: int) -> bool:
        record = await self.license(issued.license.license_key_hash)
        return record is not None and record.version >= version

    async def forget_functions(self) -> None:
        """As a new server, or one of another release."""
        await self.redis.execute_command("FUNCTION", "FLUSH")  # type: ignore[no-untyped-call]  # redis-py left it untyped

    async def _hash_field(self, key: str, field: str) -> Any:
        return await self.redis.hget(key, field)  # type: ignore[misc]  # redis-py types one method for both of its clients


class Simulator:
    """A partner's simulator, asked from outside."""

    def __init__(self, url: str, client: httpx.AsyncClient) -> None:
        self.url = url
        self._client = client

    async def fault(self, kind: str, **more: Any) -> None:
        """The next request meets this; `more` as devstack/simulators/faults.py has it."""
        answer = await self._client.post(f"{self.url}/_sim/faults", json={"kind": kind, **more})
        answer.raise_for_status()

    async def heal(self) -> None:
        for what in ("faults", "requests"):
            (await self._client.delete(f"{self.url}/_sim/{what}")).raise_for_status()

    async def requests(self) -> list[dict[str, Any]]:
        return await self._items("requests")

    async def account(self, license_id: UUID) -> dict[str, Any] | None:
        """NextPanel's account of a license."""
        return next((one for one in await self._items("accounts") if one["license_id"] == str(license_id)), None)

    async def messages(self, to: str) -> list[dict[str, Any]]:
        """The mails that an address has received."""
        return [one for one in await self._items("messages") if one["to"] == to]

    async def _items(self, what: str) -> list[dict[str, Any]]:
        answer = await self._client.get(f"{self.url}/_sim/{what}")
        answer.raise_for_status()
        items: list[dict[str, Any]] = answer.json()["items"]
        return items
