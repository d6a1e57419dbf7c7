"""Test support of the validator: a projection to fill, panels that ask, and the validator as a process."""

import asyncio
import base64
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar
from uuid import uuid4

import httpx
import msgspec
from redis import Redis as SyncRedis
from redis.asyncio import Redis
from redis.exceptions import RedisError

from core.clock import unix_time
from core.crypto.signature import sign
from core.errors import Unavailable
from core.hotstore import functions, keys
from core.hotstore.client import HotStoreClient
from core.hotstore.writer import UsageTotal, Writer
from core.licensing import key as license_key
from core.licensing.plan import Resource
from core.licensing.record import PERMISSIONS, ApiKeyRecord, LicenseRecord
from core.licensing.state import Status
from core.resp.waiting import Work, drive
from core.settings import process_environment, validator_settings
from devstack.ports import choose
from devstack.waiting import wait_until
from tests.support.secrecy import WATCH
from tests.support.secrets_in_use import learn_settings
from tests.support.servers import ROOT

T = TypeVar("T")

HOST: Final = "127.0.0.1"
PATH: Final = "/api/v1/nextpanel/"
_KEY: Final = base64.b64encode(bytes(range(32))).decode()


def environment(redis_url: str, **more: str) -> dict[str, str]:
    described = {
        "NP_ENVIRONMENT": "devstack",
        "NP_KEK": f"k1:{_KEY}",
        "NP_INDEX_KEY": _KEY,
        "REDIS_URL": redis_url,
        "NP_VALIDATOR_PROCESSES": "1",
    } | more
    learn_settings(described)
    return described


SECRETS: Final = validator_settings(environment("redis://127.0.0.1:1")).secrets

_PATIENCE: Final = 100


class ApiKey(NamedTuple):
    key_id: str
    secret: str


class License(NamedTuple):
    key: str
    hash: bytes
    record: LicenseRecord


def a_record(**changes: Any) -> LicenseRecord:
    record = LicenseRecord(
        epoch=1,
        version=1,
        license_id=uuid4(),
        status=Status.ACTIVE,
        valid_from=0.0,
        valid_until=unix_time() + 86_400,
        features={"backups": True},
        limits={"accounts": 5, "domains": 3, "databases": 50, "emails": None, "storage_gb": 100},
    )
    return msgspec.structs.replace(record, **changes)


class Projection:
    """Fills Redis as workers do."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.writer = Writer(HotStoreClient(redis))
        self._api_keys: dict[str, ApiKeyRecord] = {}

    async def load(self) -> None:
        """An empty projection that is complete: what is missing in it does not exist."""
        await self.writer.load_functions()
        tokens = await self.writer.begin_rebuild(range(keys.BUCKETS), holds_lost=False)
        await self.finish(tokens)

    async def finish(self, tokens: Mapping[int, str]) -> None:
        for bucket, token in tokens.items():
            assert await self.writer.mark_loaded(bucket, token)
        await self.writer.publish_synced(1, unix_time())

    @asynccontextmanager
    async def keeping_up(self) -> AsyncIterator[None]:
        """Meanwhile a relay says each half second that everything is projected."""

        async def work() -> None:
            while True:
                with suppress(RedisError, OSError, Unavailable):
                    await self.writer.publish_synced(1, unix_time())
                await asyncio.sleep(0.5)

        relaying = asyncio.create_task(work())
        try:
            yield
        finally:
            relaying.cancel()
            await asyncio.wait((relaying,))

    async def lose(self, bucket: int) -> None:
        """Deletes a part of the data."""
        await self.redis.delete(keys.mark(bucket))

    async def reload(self, bucket: int) -> None:
        await self.finish(await self.writer.begin_rebuild([bucket], holds_lost=False))

    async def license(self, **changes: Any) -> License:
        key = license_key.generate(SECRETS.license_checksum_key)
        issued = License(key, SECRETS.index.digest("license_key", key), a_record(**changes))
        await self.apply(issued)
        return issued

    async def apply(self, *licenses: License) -> None:
        """These licenses, and every API key that was ever made here."""
        await self.writer.apply_api_keys(list(self._api_keys.values()))
        await self.writer.apply_licenses([(issued.hash, issued.record) for issued in licenses])

    async def change(self, issued: License, **changes: Any) -> License:
        """The license's next version."""
        changed = {"version": issued.record.version + 1} | changes
        after = issued._replace(record=msgspec.structs.replace(issued.record, **changed))
        await self.apply(after)
        return after

    async def use(self, issued: License, resource: Resource, used: int, version: int, *settled: str) -> None:
        await self.writer.apply_usage([UsageTotal(issued.hash, resource, used, 1, version, settled)])

    async def api_key(self, **changes: Any) -> ApiKey:
        key = ApiKey(changes.pop("key_id", f"npk_{uuid4().hex[:16]}"), f"secret-{uuid4().hex}")
        record = ApiKeyRecord(
            epoch=1,
            version=1,
            key_id=key.key_id,
            active=True,
            license_hash=None,
            permissions=PERMISSIONS,
            current_secret=sealed(key.key_id, key.secret),
        )
        self._api_keys[key.key_id] = msgspec.structs.replace(record, **changes)
        await self.apply()
        return key

    async def change_api_key(self, key: ApiKey, **changes: Any) -> None:
        """The key's next version."""
        record = self._api_keys[key.key_id]
        self._api_keys[key.key_id] = msgspec.structs.replace(record, version=record.version + 1, **changes)
        await self.apply()


@contextmanager
def relayed(redis_url: str) -> Iterator[None]:
    """Meanwhile a relay says that everything is projected, in the reign in which it found all data."""
    done = threading.Event()

    def publish(redis: SyncRedis) -> None:
        mark: Any = redis.hget(keys.mark(0), "loaded")
        if mark is not None:
            reign = mark.decode()[: keys.RUN_ID_LENGTH]
            redis.execute_command("FCALL", functions.SYNCED, 1, keys.SYNC, 1, int(unix_time() * 1000), reign)  # type: ignore[no-untyped-call]  # redis-py left it untyped

    def work() -> None:
        with SyncRedis.from_url(redis_url) as redis:
            while not done.wait(0.5):
                with suppress(RedisError):
                    publish(redis)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def sealed(key_id: str, secret: str) -> bytes:
    return SECRETS.sealer.seal(secret.encode(), context=f"api_key:{key_id}")


def signed_headers(
    api_key: ApiKey, path: str, body: bytes, *, idempotency_key: str = "", now: float | None = None
) -> dict[str, str]:
    now = unix_time() if now is None else now
    signature = sign(*api_key, method="POST", target=path, body=body, now=now, idempotency_key=idempotency_key)
    headers = {"NP-Signature": signature, "Content-Type": "application/json"}
    return headers | ({"Idempotency-Key": idempotency_key} if idempotency_key else {})


def request_bytes(api_key: ApiKey, call: str, content: Any, *headers: bytes) -> bytes:
    """The bytes of a signed call."""
    body = json.dumps(content).encode()
    signed = signed_headers(api_key, PATH + call, body)
    lines = [f"POST {PATH}{call} HTTP/1.1".encode(), b"Host: x", b"Content-Length: %d" % len(body), *headers]
    lines += [f"{name}: {value}".encode() for name, value in signed.items()]
    return b"\r\n".join([*lines, b"", b""]) + body


class Panel:
    """A NextPanel server: signs its calls with one API key."""

    def __init__(self, client: httpx.AsyncClient, api_key: ApiKey) -> None:
        self._client = client
        self.api_key = api_key

    async def call(
        self, call: str, content: Any, *, idempotency_key: str = "", api_key: ApiKey | None = None
    ) -> httpx.Response:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        headers = signed_headers(api_key or self.api_key, PATH + call, body, idempotency_key=idempotency_key)
        return await self._client.post(PATH + call, content=body, headers=headers)

    async def verdict(self, issued: License | str, feature: str = "create_database", **more: Any) -> dict[str, Any]:
        key = issued if isinstance(issued, str) else issued.key
        response = await self.call("validate-license", {"license_key": key, "feature": feature} | more)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    async def reserve(
        self, issued: License, resource: str = "domains", count: int = 1, ttl: int = 30, idempotency_key: str = ""
    ) -> dict[str, Any]:
        content = {"license_key": issued.key, "resource": resource, "count": count, "ttl": ttl}
        response = await self.call("reserve", content, idempotency_key=idempotency_key)
        for _ in range(_PATIENCE):  # a validator that has just started may not know yet how far the projection is
            if response.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                break
            await asyncio.sleep(0.05)
            response = await self.call("reserve", content, idempotency_key=idempotency_key)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer


class Running(NamedTuple):
    process: subprocess.Popen[bytes]
    port: int
    metrics_port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def children(self) -> list[int]:
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in listed.split()]


@contextmanager
def validator(redis_url: str, log: Path, **more: str) -> Iterator[Running]:
    """`python -m validator`, from the moment it serves; a test waits for its readiness itself."""
    port, metrics_port = choose(HOST), _two_in_a_row()
    ports = {"NP_VALIDATOR_PORT": str(port), "NP_VALIDATOR_METRICS_PORT": str(metrics_port)}
    env = process_environment() | environment(redis_url, **ports) | more
    with log.open("ab") as out:
        process = subprocess.Popen((sys.executable, "-m", "validator"), cwd=ROOT, env=env, stdout=out, stderr=out)
    running = Running(process, port, metrics_port, log)
    with WATCH.following(log):
        try:
            assert wait_until(lambda: process.poll() is not None or answers(running.url, "live"), 20), log.read_text()
            assert process.poll() is None, log.read_text()
            yield running
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _two_in_a_row() -> int:
    """A port that is free and has a free neighbor: each process adds its number to the base of the metrics ports."""
    while True:
        port = choose(HOST)
        with socket.socket() as neighbor:
            try:
                neighbor.bind((HOST, port + 1))
            except OSError:
                continue
            return port


async def finished(work: Work[T]) -> T:
    """Runs a coroutine of a handler, which does not use asyncio, from an asyncio test."""
    end: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    drive(work, end.set_result, end.set_exception)
    return await end


async def eventually(ask: Callable[[], Awaitable[T]], wanted: Callable[[T], bool], seconds: float = 5) -> T:
    """Repeats a request until the answer is as wanted."""
    async with asyncio.timeout(seconds):
        while True:
            answer = await ask()
            if wanted(answer):
                return answer
            await asyncio.sleep(0.005)


def answers(url: str, health: str = "ready") -> bool:
    try:
        return httpx.get(f"{url}/health/{health}", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def ready(url: str) -> bool:
    return wait_until(lambda: answers(url), 10)
