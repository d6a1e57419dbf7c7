"""Outages: with Redis empty, dead, asleep or restarted, "cannot tell" is never told as "no"."""

import asyncio
import re
import signal
import subprocess
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from redis.asyncio import Redis

from core.clock import unix_time
from core.hotstore.keys import BUCKETS
from core.licensing.state import Status
from devstack.ports import choose
from devstack.valkey import Valkey
from tests.support.servers import running
from tests.validator.stage import HOST, License, Panel, Projection, eventually, ready, validator


class Scene(NamedTuple):
    server: Valkey
    process: subprocess.Popen[bytes]
    log: Path
    projection: Projection
    panel: Panel
    known: License
    """A license the validator has been asked about, so that it remembers it."""
    unasked: License
    http: httpx.AsyncClient
    metrics_port: int

    async def ask(self, issued: License) -> tuple[int, dict[str, Any]]:
        content = {"license_key": issued.key, "feature": "create_database"}
        response = await self.panel.call("validate-license", content)
        return response.status_code, response.json()

    async def stale(self, issued: License) -> dict[str, Any]:
        """The first stale answer."""
        _, answer = await eventually(lambda: self.ask(issued), lambda got: got[1].get("stale") is True, 10)
        return answer

    async def fresh(self, issued: License) -> dict[str, Any]:
        _, answer = await eventually(lambda: self.ask(issued), lambda got: got[1].get("stale") is False, 10)
        return answer

    async def as_of(self) -> str | None:
        told: str | None = (await self.fresh(self.known))["as_of"]
        return told

    async def as_of_age(self) -> float:
        page = (await self.http.get(f"http://{HOST}:{self.metrics_port}/metrics")).text
        return float(re.findall(r"^np_validator_as_of_age_seconds (.+)$", page, re.MULTILINE)[0])

    async def is_told_that_nobody_knows(self, issued: License) -> dict[str, Any]:
        status, problem = await self.ask(issued)
        assert status == 503
        assert problem["conclusive"] is False
        return problem


@asynccontextmanager
async def a_scene(folder: Path, *, fast: bool = True, **settings: str) -> AsyncIterator[Scene]:
    server = Valkey(data=folder / "valkey", port=choose(HOST), fast=fast)
    log = folder / "valkey.log"
    with running(server, log) as redis_process, validator(server.url, folder / "log", **settings) as process:
        async with (
            Redis.from_url(server.url) as redis,
            httpx.AsyncClient(base_url=process.url, timeout=5) as client,
        ):
            projection = Projection(redis)
            await projection.load()
            known, unasked = await projection.license(), await projection.license()
            panel = Panel(client, await projection.api_key())
            scene = Scene(server, redis_process, log, projection, panel, known, unasked, client, process.metrics_port)
            assert ready(process.url)
            assert (await scene.fresh(known))["code"] == "VALID"
            yield scene


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with a_scene(tmp_path) as scene, scene.projection.keeping_up():
        yield scene


class TestHealth:
    async def sees(self, scene: Scene, state: str, within: float = 10) -> None:
        lacking = [] if state == "ok" else ["redis"]
        told = {"status": "degraded" if lacking else "ok", "lacking": lacking, "dependencies": {"redis": state}}
        answer = await eventually(
            lambda: scene.http.get("/health/dependencies"), lambda got: bool(got.json() == told), within
        )
        assert answer.status_code == 200

    async def is_ready(self, scene: Scene) -> bool:
        answer = await scene.http.get("/health/ready")
        return (answer.status_code, answer.json()) == (200, {"status": "ok"})

    async def test_what_redis_does_later_is_told_and_empties_no_load_balancer(self, scene: Scene) -> None:
        await self.sees(scene, "ok")
        await scene.projection.redis.flushall()
        await self.sees(scene, "loading")
        assert await self.is_ready(scene)
        scene.process.send_signal(signal.SIGSTOP)
        try:
            await self.sees(scene, "silent")
            assert await self.is_ready(scene)
            live = await scene.http.get("/health/live")
            assert (live.status_code, live.json()["parts"].keys()) == (200, {"clock", "links", "fences"})
            metrics = (await scene.http.get(f"http://{HOST}:{scene.metrics_port}/metrics")).text
            assert 'np_dependency{dependency="redis",state="silent"} 1.0' in metrics
        finally:
            scene.process.send_signal(signal.SIGCONT)

    def test_a_process_that_never_met_a_loaded_redis_is_not_ready_yet(self, tmp_path: Path) -> None:
        server = Valkey(data=tmp_path / "valkey", port=choose(HOST), fast=True)
        with validator(server.url, tmp_path / "log") as process:
            told = {"status": "unavailable", "reason": "not_yet", "lacking": ["redis"]}
            for _ in range(2):  # without a server, and with one that is empty
                answer = httpx.get(f"{process.url}/health/ready", timeout=5)
                assert (answer.status_code, answer.json()) == (503, told)
                with running(server, tmp_path / "valkey.log"):
                    seen = httpx.get(f"{process.url}/health/dependencies", timeout=5)
                    assert seen.status_code == 200
            assert httpx.get(f"{process.url}/health/live", timeout=5).status_code == 200


class TestAnEmptyRedis:
    async def test_is_not_ready_and_what_is_remembered_is_stale(self, scene: Scene) -> None:
        await scene.projection.redis.flushall()
        answer = await scene.stale(scene.known)
        assert answer["code"] == "VALID"
        assert (await scene.is_told_that_nobody_knows(scene.unasked))["code"] == "not_ready"

    async def test_is_believed_once_it_is_loaded(self, scene: Scene) -> None:
        await scene.projection.redis.flushall()
        await scene.stale(scene.known)
        tokens = await scene.projection.writer.begin_rebuild(range(BUCKETS), holds_lost=False)
        await scene.projection.apply(scene.unasked)
        await scene.projection.finish(tokens)
        assert (await scene.fresh(scene.unasked))["code"] == "VALID"
        assert (await scene.fresh(scene.known))["code"] == "NOT_FOUND"  # now it is certain

    async def test_says_what_has_changed_even_while_it_is_being_loaded(self, scene: Scene) -> None:
        await scene.projection.redis.flushall()
        await scene.stale(scene.known)
        await scene.projection.change(scene.known, status=Status.SUSPENDED)
        _, answer = await eventually(lambda: scene.ask(scene.known), lambda got: got[1].get("code") == "SUSPENDED")
        assert answer["stale"] is True

    async def test_does_not_grant_what_is_left_of_a_quota_nobody_remembers(self, scene: Scene) -> None:
        """A document that is loaded before its totals says nothing about the quota."""
        await scene.projection.redis.flushall()
        await scene.projection.apply(scene.unasked)
        assert (await scene.is_told_that_nobody_knows(scene.unasked))["code"] == "not_ready"

    async def test_grants_no_reservation_while_lost_ones_may_be_in_use(self, scene: Scene) -> None:
        projection = scene.projection
        content = {"license_key": scene.known.key, "resource": "domains", "count": 2, "ttl": 30}
        # A validator that has just started may not have read yet how far the projection is.
        response = await eventually(lambda: scene.panel.call("reserve", content), lambda got: got.status_code == 200)
        assert response.json()["granted"]
        await projection.redis.flushall()
        tokens = await projection.writer.begin_rebuild(range(BUCKETS), holds_lost=True)
        await projection.apply(scene.known)
        await projection.finish(tokens)
        await scene.fresh(scene.known)
        response = await scene.panel.call("reserve", content)
        assert response.status_code == 503
        assert 50 <= int(response.headers["retry-after"]) <= 60

    async def test_emptied_at_any_moment_never_makes_a_license_unknown(self, scene: Scene) -> None:
        """Many flushes, also during rebuilds, while panels ask."""
        issued = [scene.known, scene.unasked, *[await scene.projection.license() for _ in range(6)]]
        seen: Counter[tuple[int, str]] = Counter()
        done = asyncio.Event()

        async def ask_on(one: License) -> None:
            while not done.is_set():
                status, answer = await scene.ask(one)
                seen[status, answer["code"]] += 1

        async with asyncio.TaskGroup() as panels:
            for one in issued:
                panels.create_task(ask_on(one))
            for _ in range(12):
                await scene.projection.redis.flushall()
                tokens = await scene.projection.writer.begin_rebuild(range(BUCKETS), holds_lost=False)
                await scene.projection.apply(*issued[: len(issued) // 2])
                await scene.projection.redis.flushall()
                assert not await scene.projection.writer.mark_loaded(0, tokens[0])
            done.set()
        assert {code for status, code in seen if status == 200} <= {"VALID"}
        assert {status for status, _ in seen} <= {200, 503}
        assert seen


class TestADeadRedis:
    async def test_leaves_stale_answers_and_no_others(self, scene: Scene) -> None:
        scene.process.kill()
        answer = await scene.stale(scene.known)
        assert (answer["code"], answer["remaining_quota"]) == ("VALID", 50)
        await scene.is_told_that_nobody_knows(scene.unasked)

    async def test_that_comes_back_empty_is_not_ready_until_it_is_loaded(self, scene: Scene) -> None:
        scene.process.kill()
        scene.process.wait()
        await scene.stale(scene.known)
        with running(scene.server, scene.log):
            assert (await scene.stale(scene.known))["code"] == "VALID"
            await scene.is_told_that_nobody_knows(scene.unasked)
            await scene.projection.writer.load_functions()
            tokens = await scene.projection.writer.begin_rebuild(range(BUCKETS), holds_lost=False)
            await scene.projection.apply(scene.known, scene.unasked)
            await scene.projection.finish(tokens)
            assert (await scene.fresh(scene.known))["code"] == "VALID"
            assert (await scene.fresh(scene.unasked))["code"] == "VALID"

    async def test_with_its_data_is_believed_after_a_comparison(self, tmp_path: Path) -> None:
        """An append-only file may have lost its last second, so what is missing in it may exist."""
        async with a_scene(tmp_path, fast=False) as scene:
            scene.process.kill()
            scene.process.wait()
            with running(scene.server, scene.log):
                answer = await scene.stale(scene.unasked)
                assert answer["code"] == "VALID"
                absent = scene.unasked._replace(key=(await scene.projection.license(tombstone=True)).key)
                missing = await scene.projection.writer.client.missing_buckets()
                assert len(missing) == BUCKETS
                tokens = await scene.projection.writer.begin_rebuild(missing, holds_lost=False)
                await scene.projection.finish(tokens)
                assert (await scene.fresh(scene.unasked))["code"] == "VALID"
                assert (await scene.fresh(absent))["code"] == "NOT_FOUND"


class TestASilentRedis:
    async def test_is_not_waited_for(self, scene: Scene) -> None:
        loop = asyncio.get_running_loop()
        scene.process.send_signal(signal.SIGSTOP)
        try:
            before = loop.time()
            assert (await scene.stale(scene.known))["code"] == "VALID"
            await scene.is_told_that_nobody_knows(scene.unasked)
            assert loop.time() - before < 2
        finally:
            scene.process.send_signal(signal.SIGCONT)
        assert (await scene.fresh(scene.known))["code"] == "VALID"
        assert (await scene.fresh(scene.unasked))["code"] == "VALID"

    async def test_that_wakes_up_gives_each_its_own_answer(self, scene: Scene) -> None:
        """Late replies belong to commands that were given up; none may reach another request."""
        issued = [await scene.projection.license(limits={"databases": number}) for number in range(1, 21)]
        for _ in range(3):
            scene.process.send_signal(signal.SIGSTOP)
            await asyncio.gather(*[scene.ask(one) for one in issued])
            scene.process.send_signal(signal.SIGCONT)
            answers = await asyncio.gather(*[scene.fresh(one) for one in issued])
            assert [answer["remaining_quota"] for answer in answers] == list(range(1, 21))


class TestAProjectionThatStandsStill:
    """No worker projects any more: verdicts stay right as of an instant that no longer moves."""

    async def test_is_told_by_as_of_and_by_a_metric(self, tmp_path: Path) -> None:
        async with a_scene(tmp_path) as scene:
            early = await eventually(scene.as_of_age, lambda age: age < float("inf"))
            first = await eventually(scene.as_of, lambda told: told is not None)
            later = await eventually(scene.as_of_age, lambda age: age > early + 0.2)
            assert await scene.as_of() == first
            await scene.projection.writer.publish_synced(1, unix_time())
            await eventually(scene.as_of_age, lambda age: age < later)
            await eventually(scene.as_of, lambda told: told != first)


class TestWithoutNearCache:
    async def test_every_answer_comes_from_redis(self, tmp_path: Path) -> None:
        async with a_scene(tmp_path, NP_NEAR_CACHE="off") as scene:
            suspended = await scene.projection.change(scene.known, status=Status.SUSPENDED)
            assert (await scene.ask(suspended))[1]["code"] == "SUSPENDED"
            scene.process.kill()
            scene.process.wait()
            await scene.is_told_that_nobody_knows(suspended)

    async def test_a_revoked_key_is_refused_all_the_same(self, tmp_path: Path) -> None:
        async with a_scene(tmp_path, NP_NEAR_CACHE="off") as scene:
            await scene.projection.api_key(key_id=scene.panel.api_key.key_id, active=False, version=2)
            await eventually(lambda: scene.ask(scene.known), lambda got: got[0] == 401)
