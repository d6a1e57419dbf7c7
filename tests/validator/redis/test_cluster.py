"""Redis Cluster behind REDIS_URL: each node is believed, doubted and missing by itself."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from core.hotstore import keys
from core.hotstore.slots import BUCKET_SLOTS, JWKS_SLOT, SYNC_SLOT
from core.licensing import key as license_key
from core.licensing.state import Status
from devstack.valkey import HOST
from tests.support.cluster import Cluster, Node, cluster
from tests.support.servers import running
from tests.validator.stage import SECRETS, License, Panel, Projection, eventually, ready, validator


class Scene(NamedTuple):
    cluster: Cluster
    projection: Projection
    panel: Panel
    client: httpx.AsyncClient

    async def ask(self, issued: License) -> tuple[int, dict[str, Any]]:
        content = {"license_key": issued.key, "feature": "create_database"}
        response = await self.panel.call("validate-license", content)
        return response.status_code, response.json()

    async def fresh(self, issued: License, code: str = "VALID") -> None:
        await eventually(
            lambda: self.ask(issued),
            lambda got: got[0] == 200 and got[1]["code"] == code and not got[1]["stale"],
            15,
        )

    async def on(self, node: Node, number: int = 1) -> list[License]:
        """Licenses whose buckets this node serves."""
        found: list[License] = []
        buckets = node.buckets
        while len(found) < number:
            issued = await self.projection.license()
            if issued.hash[0] in buckets:
                found.append(issued)
        return found

    async def rebuild(self, *issued: License) -> list[int]:
        """Rebuilds like a worker; there are only these licenses."""
        writer = self.projection.writer
        missing = await writer.client.missing_buckets()
        tokens = await writer.begin_rebuild(missing, holds_lost=False)
        await self.projection.apply(*issued)
        await self.projection.finish(tokens)
        return missing


@asynccontextmanager
async def a_scene(folder: Path, *, replicas: int = 0) -> AsyncIterator[Scene]:
    with cluster(folder, replicas=replicas) as made, validator(made.url, folder / "log") as process:
        async with (
            Redis.from_url(made.url) as redis,
            httpx.AsyncClient(base_url=process.url, timeout=5) as client,
        ):
            projection = Projection(redis)
            await projection.load()
            # Its API key is a panel's oldest answer: it lies where no test does any harm.
            key_id = next(name for name in (f"npk_{n}" for n in count()) if lies_on(made.primaries[-1], name))
            scene = Scene(made, projection, Panel(client, await projection.api_key(key_id=key_id)), client)
            assert ready(process.url), process.log.read_text()
            async with projection.keeping_up():
                await scene.fresh(await projection.license())  # it is ready before it has read `synced_through`
                yield scene
            await projection.writer.client.close()


@pytest.fixture(scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    """For tests that leave the slots unchanged."""
    async with a_scene(tmp_path_factory.mktemp("cluster")) as scene:
        yield scene


@pytest.fixture
async def own_scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with a_scene(tmp_path, replicas=3) as scene:
        yield scene


@asynccontextmanager
async def asked_meanwhile(scene: Scene, issued: Sequence[License]) -> AsyncIterator[Counter[tuple[int, str]]]:
    """Panels ask without a pause; counts their answers by status and code."""
    told: Counter[tuple[int, str]] = Counter()
    done = asyncio.Event()

    async def ask_on(one: License) -> None:
        while not done.is_set():
            status, answer = await scene.ask(one)
            told[status, answer["code"]] += 1

    async with asyncio.TaskGroup() as panels:
        for one in issued:
            panels.create_task(ask_on(one))
        try:
            yield told
        finally:
            done.set()


def never_wrong(told: Counter[tuple[int, str]]) -> bool:
    return set(told) <= {(200, "VALID"), (503, "not_ready")}


class TestEachNode:
    async def test_answers_for_its_licenses(self, scene: Scene) -> None:
        for node in scene.cluster.primaries:
            for issued in await scene.on(node, 3):
                assert (await scene.panel.verdict(issued))["code"] == "VALID"
                assert (await scene.panel.verdict(issued))["stale"] is False
                granted = await scene.panel.reserve(issued, "domains", 2)
                assert (granted["granted"], granted["remaining_quota"]) == (True, 1)
                assert not (await scene.panel.reserve(issued, "domains", 2))["granted"]
                await eventually(
                    lambda issued=issued: scene.panel.verdict(issued, "create_domain"),  # type: ignore[misc]  # mypy cannot infer a lambda's default
                    lambda got: got["remaining_quota"] == 1,
                )
                content = {"license_key": issued.key, "reservation_id": granted["reservation_id"]}
                assert (await scene.panel.call("release", content)).json()["released"]

    async def test_says_of_what_it_has_not_that_there_is_none(self, scene: Scene) -> None:
        seen: set[Node] = set()
        while len(seen) < 3:
            key = license_key.generate(SECRETS.license_checksum_key)
            digest = SECRETS.index.digest("license_key", key)
            assert (await scene.panel.verdict(key))["code"] == "NOT_FOUND"
            seen.add(scene.cluster.owner(digest[0]))

    async def test_many_of_all_nodes_are_answered_in_order(self, scene: Scene) -> None:
        issued = [await scene.projection.license(limits={"databases": number}) for number in range(1, 41)]
        items = [{"license_key": one.key, "feature": "create_database"} for one in issued]
        response = await scene.panel.call("validate-licenses", {"items": items})
        assert [item["remaining_quota"] for item in response.json()["items"]] == list(range(1, 41))

    async def test_tells_of_a_suspension(self, scene: Scene) -> None:
        for node in scene.cluster.primaries:
            (issued,) = await scene.on(node)
            await scene.fresh(issued)
            loop = asyncio.get_running_loop()
            await scene.projection.change(issued, status=Status.SUSPENDED)
            before = loop.time()
            await scene.fresh(issued, "SUSPENDED")
            assert loop.time() - before < 1

    async def test_serves_as_of_and_the_public_keys_from_wherever_they_lie(self, scene: Scene) -> None:
        await scene.projection.writer.publish_jwks(b'{"keys":[]}')
        (issued,) = await scene.on(scene.cluster.primaries[0])
        await eventually(lambda: scene.panel.verdict(issued), lambda got: got["as_of"] is not None)
        assert (await scene.client.get("/.well-known/jwks.json")).json() == {"keys": []}

    async def test_that_falls_silent_is_waited_for_by_nobody(self, scene: Scene) -> None:
        silent, *others = scene.cluster.primaries
        (known,) = await scene.on(silent)
        elsewhere = [one for node in others for one in await scene.on(node)]
        for one in (known, *elsewhere):
            await scene.fresh(one)
        process = scene.cluster.processes[silent.port]
        process.send_signal(signal.SIGSTOP)
        try:
            _, answer = await eventually(lambda: scene.ask(known), lambda got: got[1].get("stale") is True)
            assert answer["code"] == "VALID"
            for one in elsewhere:
                await scene.fresh(one)
        finally:
            process.send_signal(signal.SIGCONT)
        await scene.fresh(known)

    async def test_that_is_emptied_is_missed_alone(self, scene: Scene) -> None:
        emptied, *others = scene.cluster.primaries
        known, unasked = await scene.on(emptied, 2)
        elsewhere = [one for node in others for one in await scene.on(node, 2)]
        for one in (known, *elsewhere[::2]):
            await scene.fresh(one)
        emptied.ask("FLUSHALL")
        _, answer = await eventually(lambda: scene.ask(known), lambda got: got[1].get("stale") is True)
        assert answer["code"] == "VALID"
        status, problem = await scene.ask(unasked)
        assert (status, problem["code"], problem["conclusive"]) == (503, "not_ready", False)
        for one in elsewhere:
            verdict = await scene.panel.verdict(one)
            assert (verdict["code"], verdict["stale"]) == ("VALID", False)
        await eventually(lambda: scene.client.get("/health/dependencies"), sees("loading"))
        assert (await scene.client.get("/health/ready")).status_code == 200, "it has been of use, and is in part"
        assert sorted(await scene.rebuild(known, unasked)) == sorted(emptied.buckets)
        await scene.fresh(known)
        await scene.fresh(unasked)


class TestASlotThatMoves:
    async def test_at_once_is_followed(self, own_scene: Scene) -> None:
        """Its mark was made on another server, so until it is confirmed its answers are stale, and never wrong."""
        scene = own_scene
        source, target, _ = scene.cluster.primaries
        known, unasked = await scene.on(source, 2)
        await scene.fresh(known)
        async with asked_meanwhile(scene, [known, unasked]) as told:
            for bucket in {known.hash[0], unasked.hash[0]}:
                await move(bucket, source, target)
            await eventually(lambda: scene.ask(unasked), lambda got: got[1].get("stale") is True, 10)
            moved = await scene.rebuild(known, unasked)
            await scene.fresh(known)
            await scene.fresh(unasked)
        assert set(moved) == {known.hash[0], unasked.hash[0]}
        assert never_wrong(told), told
        suspended = await scene.projection.change(known, status=Status.SUSPENDED)
        await scene.fresh(suspended, "SUSPENDED")

    async def test_key_by_key_is_never_misjudged(self, own_scene: Scene) -> None:
        """While half of a bucket has moved, a read of all of it gets TRYAGAIN."""
        scene = own_scene
        source, target, _ = scene.cluster.primaries
        (known,) = await scene.on(source)
        bucket, slot = known.hash[0], BUCKET_SLOTS[known.hash[0]]
        await scene.fresh(known)
        async with asked_meanwhile(scene, [known]) as told:
            target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
            source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)
            name = keys.document(keys.short_hash(known.hash))
            source.ask("MIGRATE", HOST, target.port, name, 0, 1000)
            asked = sum(told.values())
            await eventually(lambda: number_of(told), lambda number: number > asked + 20)
            with pytest.raises(ResponseError, match="TRYAGAIN"):  # an absence to the relay, which comes again
                await scene.projection.change(known)
            for key in source.ask("CLUSTER", "GETKEYSINSLOT", slot, 1000):
                source.ask("MIGRATE", HOST, target.port, key, 0, 1000)
            renewed = await scene.projection.change(known)  # all has gone there: the writer is asked to go on, too
            asked = sum(told.values())
            await eventually(lambda: number_of(told), lambda number: number > asked + 20)
            for node in (target, source, scene.cluster.primaries[2]):
                node.ask("CLUSTER", "SETSLOT", slot, "NODE", target.id)
            assert await scene.rebuild(renewed) == [bucket]
            await scene.fresh(renewed)
        assert never_wrong(told), told

    async def test_is_asked_where_it_is_going(self, own_scene: Scene) -> None:
        """A key that has moved, in a slot that has not: ASK."""
        scene = own_scene
        await scene.projection.writer.publish_jwks(b'{"keys":[]}')
        source = next(node for node in scene.cluster.primaries if node.serves(JWKS_SLOT))
        target = next(node for node in scene.cluster.primaries if node is not source)
        target.ask("CLUSTER", "SETSLOT", JWKS_SLOT, "IMPORTING", source.id)
        source.ask("CLUSTER", "SETSLOT", JWKS_SLOT, "MIGRATING", target.id)
        source.ask("MIGRATE", HOST, target.port, keys.JWKS, 0, 1000)
        for _ in range(3):
            assert (await scene.client.get("/.well-known/jwks.json")).json() == {"keys": []}
        await scene.projection.writer.publish_jwks(b'{"keys":[1]}')
        assert (await scene.client.get("/.well-known/jwks.json")).json() == {"keys": [1]}


class TestANodeThatDies:
    async def test_is_replaced_by_its_replica(self, own_scene: Scene) -> None:
        scene = own_scene
        dead, *others = scene.cluster.primaries
        replica = scene.cluster.replicas[0]
        mine = await scene.on(dead, 3)
        theirs = [one for node in others for one in await scene.on(node)]
        for one in (*mine[:2], *theirs):
            await scene.fresh(one)
        lost = dead.buckets
        async with asked_meanwhile(scene, [*mine, *theirs]) as told:
            scene.cluster.kill(dead)
            for one in theirs:
                verdict = await scene.panel.verdict(one)
                assert (verdict["code"], verdict["stale"]) == ("VALID", False)
            await eventually(lambda: buckets_of(replica), lambda buckets: buckets == lost, 20)
            _, answer = await eventually(lambda: scene.ask(mine[2]), lambda got: got[0] == 200, 10)
            assert answer["stale"], "what it has may lack the last second of the dead one's writes"
            missing = await eventually(lambda: found_missing(scene), lambda found: found is not None, 10)
            assert missing == lost
            await scene.rebuild(*mine, *theirs)
            for one in mine:
                await scene.fresh(one)
        assert never_wrong(told), told
        assert (await scene.panel.reserve(mine[0]))["granted"]
        suspended = await scene.projection.change(mine[1], status=Status.SUSPENDED)
        await scene.fresh(suspended, "SUSPENDED")

    async def test_takes_nobody_along_but_the_minority(self, own_scene: Scene) -> None:
        """A node that has lost its Cluster answers PING, but what is remembered of it is no longer believed."""
        scene = own_scene
        *others, alone = scene.cluster.primaries  # the API key's, or every answer would be as old as the key
        (known,) = await scene.on(alone)
        await scene.fresh(known)
        for node in (*others, *scene.cluster.replicas):
            scene.cluster.kill(node)
        _, answer = await eventually(lambda: scene.ask(known), lambda got: got[1].get("stale") is True, 10)
        assert answer["code"] == "VALID"
        assert alone.ask("PING") == "PONG"


class TestANodeWithAnOldFile:
    async def test_is_not_believed_for_what_another_says_of_its_own(self, tmp_path: Path) -> None:
        """`synced_through` is on one node: it tells nothing of the file of another one that has come back."""
        async with a_scene(tmp_path) as scene:
            back = next(node for node in scene.cluster.primaries[:-1] if not node.serves(SYNC_SLOT))
            known, used = await scene.on(back, 2)
            for one in (known, used):
                await scene.fresh(one)
            assert back.ask("SAVE") == "OK"
            await scene.projection.change(known, status=Status.SUSPENDED)
            await scene.projection.use(used, "databases", 50, 1)
            await scene.fresh(known, "SUSPENDED")
            await scene.fresh(used, "QUOTA_EXCEEDED")
            scene.cluster.kill(back)
            await asyncio.sleep(1.5)  # what the others say is younger then than whatever was told
            async with asked_meanwhile(scene, [known]) as told, asked_meanwhile(scene, [used]) as of_used:
                with running(back, tmp_path / "back.log"):
                    await eventually(lambda: found_missing(scene), bool, 10)
                    asked = sum(told.values())
                    await eventually(lambda: number_of(told), lambda number: number > asked + 50)
                    await scene.projection.change(known, version=3, status=Status.SUSPENDED)
                    await scene.projection.use(used, "databases", 50, 1)
                    await scene.rebuild()
                    await scene.fresh(known, "SUSPENDED")
                    await scene.fresh(used, "QUOTA_EXCEEDED")
            assert set(told) <= {(200, "SUSPENDED"), (503, "not_ready")}, told
            assert set(of_used) <= {(200, "QUOTA_EXCEEDED"), (503, "not_ready")}, of_used


async def move(bucket: int, source: Node, target: Node) -> None:
    slot = BUCKET_SLOTS[bucket]
    assert source.ask("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", target.id) == "OK"
    await eventually(lambda: buckets_of(target), lambda buckets: bucket in buckets, 10)


def lies_on(node: Node, key_id: str) -> bool:
    return keys.bucket_of_api_key(key_id) in node.buckets


def sees(state: str) -> Callable[[httpx.Response], bool]:
    told = {"status": "degraded", "lacking": ["redis"], "dependencies": {"redis": state}}
    return lambda response: response.status_code == 200 and bool(response.json() == told)


async def number_of(told: Counter[tuple[int, str]]) -> int:
    return sum(told.values())


async def buckets_of(node: Node) -> list[int]:
    return node.buckets


async def found_missing(scene: Scene) -> list[int] | None:
    """None while the writer cannot reach a node."""
    try:
        return await scene.projection.writer.client.missing_buckets()
    except RedisError:
        return None
