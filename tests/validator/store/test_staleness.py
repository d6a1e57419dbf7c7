"""Staleness: a server that answers may be wrong (demoted, unfit, an old file, no more projection)."""

import asyncio
import re
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import httpx
import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from core.clock import unix_time
from core.hotstore import keys
from core.licensing import key as license_key
from core.licensing.state import Status
from devstack.ports import choose
from devstack.valkey import Valkey
from tests.support.full_disk import SurvivingValkey, full_disk
from tests.support.server_thread import serving
from tests.support.servers import running
from tests.validator.stage import HOST, SECRETS, ApiKey, License, Panel, Projection, eventually, ready, validator
from validator.store.staleness import AGED_SECONDS

LONG_AGO = 400
"""Seconds; more than data of another reign may be old."""
ALL = range(keys.BUCKETS)
NOBODY = license_key.generate(SECRETS.license_checksum_key)
UNKNOWN = ApiKey("npk_unknown", "secret-unknown")


class Answer(NamedTuple):
    status: int
    code: str
    stale: bool | None
    remaining: int | None
    conclusive: bool | None


class Scene(NamedTuple):
    """A Valkey with a file, a validator, and what a worker does. `synced_through` stays as it was set last."""

    server: Valkey
    redis_process: subprocess.Popen[bytes]
    projection: Projection
    panel: Panel
    metrics_url: str
    log: Path
    url: str

    async def ask(self, issued: License | str, api_key: ApiKey | None = None) -> Answer:
        key = issued if isinstance(issued, str) else issued.key
        content = {"license_key": key, "feature": "create_database"}
        response = await self.panel.call("validate-license", content, api_key=api_key)
        body = response.json()
        told = (body.get(name) for name in ("stale", "remaining_quota", "conclusive"))
        return Answer(response.status_code, body["code"], *told)

    async def until(self, issued: License | str, api_key: ApiKey | None = None, **wanted: Any) -> Answer:
        def fits(answer: Answer) -> bool:
            return all(getattr(answer, name) == value for name, value in wanted.items())

        return await eventually(lambda: self.ask(issued, api_key), fits, 10)

    async def reserve(self, issued: License) -> int:
        content = {"license_key": issued.key, "resource": "domains", "count": 1, "ttl": 5}
        return (await self.panel.call("reserve", content, idempotency_key=uuid4().hex)).status_code

    async def synced(self, ago: float = 0) -> None:
        """Publishes this as the relay would."""
        words = ("HSET", keys.SYNC, "epoch", "1", "synced_through", str(int((unix_time() - ago) * 1000)))
        await self.projection.redis.execute_command(*words)  # type: ignore[no-untyped-call]  # redis-py left it untyped

    async def confirm(self) -> None:
        """Confirms all buckets like a worker that has compared them."""
        await self.projection.finish(await self.projection.writer.begin_rebuild(ALL, holds_lost=False))

    async def metric(self, name: str) -> float:
        async with httpx.AsyncClient() as client:
            page = (await client.get(f"{self.metrics_url}/metrics")).text
        return float(re.findall(rf"^{name}(?:{{.*}})? (.+)$", page, re.MULTILINE)[0])

    async def dependency(self) -> str:
        async with httpx.AsyncClient() as client:
            told = (await client.get(f"{self.url}/health/dependencies")).json()
        return str(told["dependencies"]["redis"])

    async def command(self, *words: str) -> Any:
        return await self.projection.redis.execute_command(*words)  # type: ignore[no-untyped-call]  # as above

    async def connections(self) -> set[str]:
        """The validator's connections, by their ids at the server."""
        listed: list[dict[str, str]] = await self.projection.redis.client_list()
        return {one["id"] for one in listed if one["name"] == "np-validator"}


@asynccontextmanager
async def a_scene(folder: Path, name: "Name | None" = None, **settings: str) -> AsyncIterator[Scene]:
    """`name`: by which the validator knows the server."""
    server = SurvivingValkey(data=folder / "valkey", port=choose(HOST))
    log = folder / "log"
    url = server.url
    if name is not None:
        name.target = server.port
        url = name.url
    with running(server, folder / "valkey.log") as process, validator(url, log, **settings) as one:
        async with Redis.from_url(server.url) as redis, httpx.AsyncClient(base_url=one.url, timeout=5) as client:
            projection = Projection(redis)
            await projection.load()
            panel = Panel(client, await projection.api_key())
            assert ready(one.url)
            yield Scene(server, process, projection, panel, f"http://{HOST}:{one.metrics_port}", log, one.url)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with a_scene(tmp_path) as scene:
        yield scene


async def written(scene: Scene) -> None:
    """Waits until the file holds everything."""

    async def unwritten() -> int:
        return int((await scene.projection.redis.info("persistence"))["aof_pending_bio_fsync"])

    await asyncio.sleep(1.2)  # appendfsync everysec
    await eventually(unwritten, lambda left: left == 0)


@contextmanager
def old_file(scene: Scene, kept: Path) -> Iterator[None]:
    """The server is killed, and comes back with the file that was kept."""
    scene.redis_process.kill()
    scene.redis_process.wait()
    shutil.rmtree(scene.server.data / "appendonlydir")
    shutil.copytree(kept, scene.server.data / "appendonlydir")
    with running(scene.server, scene.log):
        yield


async def keep_file(scene: Scene, to: Path) -> Path:
    await written(scene)
    shutil.copytree(scene.server.data / "appendonlydir", to)
    return to


Told = set[tuple[str, int, str, bool | None]]


async def told_of(scene: Scene, asked: dict[str, tuple[License, ApiKey | None]]) -> Told:
    """The answers of the first second."""
    told: Told = set()
    for _ in range(30):
        for what, (issued, key) in asked.items():
            answer = await scene.ask(issued, key)
            told.add((what, answer.status, answer.code, answer.stale))
        await asyncio.sleep(0.02)
    return told


class TestAnOldFile:
    @pytest.mark.parametrize("near_cache", ["on", "off"])
    async def test_never_makes_an_answer_older_than_one_that_was_told(self, tmp_path: Path, near_cache: str) -> None:
        async with a_scene(tmp_path, NP_NEAR_CACHE=near_cache) as scene:
            projection = scene.projection
            good, rotated, used = [await projection.license() for _ in range(3)]
            key = await projection.api_key()
            for issued in (good, rotated, used):
                await scene.until(issued, code="VALID", stale=False)
            await scene.until(good, key, code="VALID")
            await scene.synced()
            kept = await keep_file(scene, tmp_path / "kept")
            suspended = await projection.change(good, status=Status.SUSPENDED)
            await projection.change(rotated, tombstone=True)
            await projection.use(used, "databases", 50, 1)
            await projection.api_key(key_id=key.key_id, active=False, version=2)
            await scene.synced()
            assert (await scene.until(good, code="SUSPENDED")).stale is False
            await scene.until(rotated, code="NOT_FOUND")
            await scene.until(used, code="QUOTA_EXCEEDED")
            await scene.until(used, key, status=401)
            with old_file(scene, kept):
                asked = {"good": (good, None), "rotated": (rotated, None), "used": (used, None), "key": (used, key)}
                told = await told_of(scene, asked)
                assert ("good", 200, "SUSPENDED", True) in told
                assert {code for what, _, code, _ in told if what == "good"} <= {"SUSPENDED", "not_ready"}
                assert {code for what, _, code, _ in told if what in {"rotated", "key"}} == {"not_ready"}
                assert {code for what, _, code, _ in told if what == "used"} <= {"QUOTA_EXCEEDED", "not_ready"}
                await projection.apply(suspended)  # as the comparison brings it
                await scene.confirm()
                await scene.until(good, code="SUSPENDED", stale=False)

    @pytest.mark.parametrize("near_cache", ["on", "off"])
    async def test_is_not_believed_for_what_is_written_beside_it(self, tmp_path: Path, near_cache: str) -> None:
        """A relay may write a total, or a document, before everything has been compared."""
        async with a_scene(tmp_path, NP_NEAR_CACHE=near_cache) as scene:
            projection = scene.projection
            good, used, both = [await projection.license() for _ in range(3)]
            await scene.synced()
            kept = await keep_file(scene, tmp_path / "kept")
            await projection.change(good, status=Status.SUSPENDED)
            for issued in (used, both):
                await projection.use(issued, "databases", 50, 1)
            await scene.synced()
            await scene.until(good, code="SUSPENDED", stale=False)
            for issued in (used, both):
                await scene.until(issued, code="QUOTA_EXCEEDED", stale=False)
            with old_file(scene, kept):
                with suppress(RedisError):
                    await scene.connections()  # on a connection that the server's end has ended
                await eventually(scene.connections, bool)
                await projection.use(good, "domains", 1, 1)
                await projection.use(used, "domains", 1, 1)
                await projection.change(both)
                told = await told_of(scene, {"good": (good, None), "used": (used, None), "both": (both, None)})
                assert {code for what, _, code, _ in told if what == "good"} <= {"SUSPENDED", "not_ready"}
                assert {code for what, _, code, _ in told if what == "used"} <= {"QUOTA_EXCEEDED", "not_ready"}
                assert {code for what, _, code, _ in told if what == "both"} <= {"QUOTA_EXCEEDED", "not_ready"}

    async def test_is_used_as_stale_while_it_is_young_and_then_not_at_all(self, scene: Scene, tmp_path: Path) -> None:
        issued = await scene.projection.license()
        await scene.synced()
        young = await keep_file(scene, tmp_path / "young")
        await scene.synced(LONG_AGO)
        old = await keep_file(scene, tmp_path / "old")
        with old_file(scene, young), validator(scene.server.url, tmp_path / "log-of-another") as another:
            async with httpx.AsyncClient(base_url=another.url) as client:
                fresh = scene._replace(panel=Panel(client, scene.panel.api_key))
                await fresh.until(issued, status=200, code="VALID", stale=True)
                assert (await fresh.ask(NOBODY)).code == "not_ready"
                assert (await fresh.ask(issued, UNKNOWN)).code == "not_ready"
                assert await fresh.reserve(issued) == 503
        with old_file(scene, old), validator(scene.server.url, tmp_path / "log-of-a-third") as third:
            async with httpx.AsyncClient(base_url=third.url) as client:
                fresh = scene._replace(panel=Panel(client, scene.panel.api_key))
                assert (await fresh.until(issued, status=503, code="not_ready")).conclusive is False
                await fresh.confirm()
                await fresh.until(issued, code="VALID", stale=False)

    async def test_of_an_unfinished_rebuild_is_not_believed_either(self, scene: Scene) -> None:
        projection = scene.projection
        issued, key = await projection.license(), await projection.api_key()
        names = (keys.document(keys.short_hash(issued.hash)), keys.api_key(key.key_id))
        before = [await scene.command("GET", name) for name in names]
        await scene.until(issued, key, code="VALID", stale=False)
        await projection.change(issued, status=Status.SUSPENDED)
        await projection.api_key(key_id=key.key_id, active=False, version=2)
        await scene.synced()
        await scene.until(issued, code="SUSPENDED", stale=False)
        await scene.until(issued, key, status=401)
        for bucket in {issued.hash[0], keys.bucket_of_api_key(key.key_id)}:
            await projection.lose(bucket)
        for name, packed in zip(names, before, strict=True):
            await scene.command("SET", name, packed)
        told = await told_of(scene, {"license": (issued, None), "key": (issued, key)})
        assert {code for what, _, code, _ in told if what == "license"} <= {"SUSPENDED", "not_ready"}
        assert {code for what, _, code, _ in told if what == "key"} == {"not_ready"}


class TestAProjectionThatStandsStill:
    async def test_makes_every_answer_stale_and_no_answer_no(self, scene: Scene) -> None:
        issued = await scene.projection.license()
        await scene.until(issued, code="VALID", stale=False)
        await scene.until(NOBODY, code="NOT_FOUND", stale=False)
        await scene.until(issued, UNKNOWN, status=401)
        rotated = scene.panel.api_key._replace(secret="of-tomorrow")
        await scene.until(issued, rotated, status=401)
        await scene.synced(AGED_SECONDS - 1.5)
        await scene.until(NOBODY, code="NOT_FOUND", stale=False)
        await scene.until(issued, status=200, code="VALID", stale=True)
        await scene.until(NOBODY, status=503, code="not_ready")
        await scene.until(issued, UNKNOWN, status=503, code="not_ready")
        await scene.until(issued, rotated, status=503, code="not_ready")
        explained = await scene.panel.call("explain", {"license_key": issued.key, "feature": "create_database"})
        assert explained.json()["stale"] is True
        await scene.synced(100_000)
        assert (await scene.until(issued, status=200, stale=True)).code == "VALID", "without end"
        await scene.synced()
        await scene.until(issued, code="VALID", stale=False)
        await scene.until(NOBODY, code="NOT_FOUND")
        await scene.until(issued, UNKNOWN, status=401)
        await scene.until(issued, rotated, status=401)


class TestAServerThatIsUnfit:
    async def test_is_told_and_what_it_lacks_is_not_known(self, scene: Scene) -> None:
        issued = await scene.projection.license()
        await scene.until(NOBODY, code="NOT_FOUND")
        await scene.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        with suppress(ConnectionError, OSError):
            await scene.command("CLIENT", "KILL", "TYPE", "normal")
        await eventually(lambda: scene.metric("np_validator_redis_unfit"), lambda unfit: unfit == 1)
        assert "noeviction" in scene.log.read_text()
        assert (await scene.ask(NOBODY))[:2] == (503, "not_ready")
        assert (await scene.ask(issued, UNKNOWN))[:2] == (503, "not_ready")
        name = keys.api_key(scene.panel.api_key.key_id)
        packed = await scene.command("GET", name)
        await scene.command("DEL", name)  # as an eviction would
        await scene.until(issued, status=503, code="not_ready")
        await scene.command("SET", name, packed)
        await scene.until(issued, status=200, code="VALID", stale=True)
        await scene.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
        await scene.until(issued, status=200, code="VALID", stale=False)
        await scene.until(NOBODY, code="NOT_FOUND")

    async def test_one_that_begins_to_evict_is_found_out_on_the_connections_that_there_are(self, scene: Scene) -> None:
        issued = await scene.projection.license()
        await scene.until(issued, code="VALID", stale=False)
        before = scene.log.read_text().count("redis.connected")
        await scene.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        await eventually(lambda: scene.metric("np_validator_redis_unfit"), lambda unfit: unfit == 1)
        assert (await scene.ask(NOBODY))[:2] == (503, "not_ready")
        await scene.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
        await scene.until(NOBODY, code="NOT_FOUND")
        assert scene.log.read_text().count("redis.connected") == before

    async def test_is_found_out_by_the_write_that_it_refuses(self, scene: Scene) -> None:
        issued = await scene.projection.license()
        await eventually(lambda: scene.reserve(issued), lambda status: status == 200)
        await scene.command("CONFIG", "SET", "maxmemory", "1")
        await eventually(lambda: scene.reserve(issued), lambda status: status == 503)
        await eventually(lambda: scene.metric("np_validator_redis_unfit"), lambda unfit: unfit == 1)
        assert "maxmemory" in scene.log.read_text()

    async def test_is_found_out_when_its_disk_is_full(self, scene: Scene) -> None:
        issued = await scene.projection.license()
        await eventually(lambda: scene.reserve(issued), lambda status: status == 200)
        with full_disk(scene.redis_process):
            await eventually(lambda: scene.reserve(issued), lambda status: status == 503)
            await eventually(lambda: scene.metric("np_validator_redis_unfit"), lambda unfit: unfit == 1)
            assert "append-only file" in scene.log.read_text()
            assert (await scene.ask(NOBODY))[:2] == (503, "not_ready")
            await scene.until(issued, status=200, code="VALID", stale=True)
        await eventually(lambda: scene.metric("np_validator_redis_unfit"), lambda unfit: unfit == 0)
        await scene.synced()
        await scene.until(NOBODY, code="NOT_FOUND")


class TestADemotedServer:
    async def test_is_left_and_read_but_not_believed(self, scene: Scene) -> None:
        issued = await scene.projection.license()
        await scene.until(issued, code="VALID", stale=False)
        before = await scene.connections()
        await scene.command("REPLICAOF", HOST, "1")
        await eventually(scene.connections, lambda now: bool(now) and not now & before, 2)
        await scene.until(issued, status=200, code="VALID", stale=True)
        assert (await scene.ask(NOBODY))[:2] == (503, "not_ready")
        assert await scene.reserve(issued) == 503
        assert await scene.metric("np_validator_redis_writable") == 0
        await scene.command("REPLICAOF", "NO", "ONE")
        await eventually(lambda: scene.metric("np_validator_redis_writable"), lambda writable: writable == 1, 2)
        assert (await scene.ask(issued)).stale is True, "others may have been written to meanwhile"
        await scene.confirm()
        await scene.until(issued, code="VALID", stale=False)

    async def test_is_told_as_read_only_though_it_does_not_let_itself_be_read(self, scene: Scene) -> None:
        issued = await scene.projection.license()
        await scene.until(issued, code="VALID", stale=False)
        await scene.command("CONFIG", "SET", "replica-serve-stale-data", "no")
        await scene.command("REPLICAOF", HOST, "1")
        await eventually(scene.dependency, lambda state: state == "read_only")
        ends = time.monotonic() + 2  # by when no change has been heard of for long
        while time.monotonic() < ends:
            assert await scene.dependency() == "read_only"
            await asyncio.sleep(0.02)
        assert (await scene.ask(issued)).stale is True

    async def test_is_left_for_whom_its_name_leads_to(self, tmp_path: Path) -> None:
        """A name that moves, like a proxy: existing connections stay with the old server."""
        promoted = Valkey(data=tmp_path / "promoted", port=choose(HOST))
        with a_name() as name:
            async with a_scene(tmp_path, name) as scene:
                issued = await scene.projection.license()
                await scene.until(issued, code="VALID", stale=False)
                with running(promoted, tmp_path / "promoted.log"):
                    async with Redis.from_url(promoted.url) as redis:
                        there = Projection(redis)
                        await promote(redis, scene)
                        new = await there.license()
                        await there.change(issued, status=Status.SUSPENDED)
                        name.target = promoted.port
                        began = time.monotonic()
                        await scene.until(new, status=200, code="VALID", stale=True)
                        await scene.until(issued, status=200, code="SUSPENDED", stale=True)
                        assert time.monotonic() - began < 2
                        await scene._replace(projection=there).confirm()
                        await scene.until(new, code="VALID", stale=False)


async def promote(replica: Redis, scene: Scene) -> None:
    """Promotes the replica; the old primary follows it."""

    async def in_step() -> bool:
        info = await replica.info("replication")
        return (info["role"], info.get("master_link_status")) == ("slave", "up")

    await replica.execute_command("REPLICAOF", HOST, str(scene.server.port))  # type: ignore[no-untyped-call]  # as above
    await eventually(in_step, bool, 10)
    port = replica.connection_pool.connection_kwargs["port"]
    await replica.execute_command("REPLICAOF", "NO", "ONE")  # type: ignore[no-untyped-call]  # as above
    await scene.command("REPLICAOF", HOST, str(port))


class Name:
    """A proxy: new connections lead to another server from now on; existing ones stay."""

    def __init__(self) -> None:
        self.target = 0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there = await asyncio.open_connection(HOST, self.target)
            try:
                await asyncio.gather(pour(reader, there[1]), pour(there[0], writer))
            finally:
                there[1].close()
        except OSError:
            return
        finally:
            writer.close()


async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copies until either side ends, then ends the other."""
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


@contextmanager
def a_name() -> Iterator[Name]:
    name = Name()
    with serving(name.serve) as port:
        name.url = f"redis://{HOST}:{port}/0"
        yield name
