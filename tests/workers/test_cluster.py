"""Workers on a Redis Cluster: every node is filled, and a loss on one node is noticed."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from core.clock import utc_now
from core.hotstore import keys
from core.hotstore.client import HotStoreClient
from core.hotstore.functions import NotReady
from core.hotstore.slots import slot_of
from core.hotstore.writer import Writer
from db.unit_of_work import Database
from tests.support.cluster import Cluster, cluster
from tests.support.databases import rows
from tests.support.people import Desk
from tests.support.servers import DatabaseUrls
from tests.workers.world import eventually, many_licenses
from workers.projection.relay import Relay
from workers.rebuild.rebuild import Rebuild
from workers.reconciliation.run import Reconciliation


class Scene(NamedTuple):
    cluster: Cluster
    writer: Writer
    rebuild: Rebuild

    def lacking(self, digests: Sequence[bytes]) -> list[bytes]:
        """Licenses that are not on the node that serves them."""
        documents = ((digest, keys.document(keys.short_hash(digest))) for digest in digests)
        return [digest for digest, name in documents if not self.cluster.owner(digest[0]).ask("EXISTS", name)]


@pytest.fixture
async def scene(database: Database, tmp_path: Path) -> AsyncIterator[Scene]:
    with cluster(tmp_path, replicas=1) as made:
        async with Redis.from_url(made.primaries[-1].url) as redis:
            writer = Writer(HotStoreClient(redis))
            yield Scene(made, writer, Rebuild(database, writer, page=20))
            await writer.client.close()


async def test_a_rebuild_fills_every_node_and_the_emptied_one_alone(
    scene: Scene, desk: Desk, database_urls: DatabaseUrls
) -> None:
    digests = await many_licenses(database_urls, await desk.a_user(), 200)
    assert not await scene.rebuild.look(), "no node has the functions yet"
    assert await scene.rebuild.look()
    assert scene.lacking(digests) == []
    emptied = scene.cluster.primaries[1]
    emptied.ask("FLUSHALL")
    assert await scene.writer.client.missing_buckets() == emptied.buckets
    assert await scene.rebuild.look()
    assert scene.lacking(digests) == []


async def test_a_promoted_replica_is_compared_before_it_counts(
    scene: Scene, desk: Desk, database_urls: DatabaseUrls
) -> None:
    digests = await many_licenses(database_urls, await desk.a_user(), 100)
    while not await scene.rebuild.look():
        pass
    dead, replica = scene.cluster.primaries[0], scene.cluster.replicas[0]
    lost = dead.buckets
    made_before = await scene.writer.holds_made()
    scene.cluster.kill(dead)

    async def promoted() -> bool:
        return replica.buckets == lost

    await eventually(promoted, within=20)
    survivors = Cluster([replica, *scene.cluster.primaries[1:]], [], scene.cluster.processes)

    async def found() -> list[int] | None:
        """Until the writer has learned where to ask."""
        try:
            return await scene.writer.client.missing_buckets()
        except (OSError, NotReady, RedisError):
            return None

    assert await eventually(found) == lost
    assert await scene.writer.holds_made() != made_before, "what the dead one has granted may still be counted on"
    assert await scene.rebuild.look()
    assert scene._replace(cluster=survivors).lacking(digests) == []


async def test_the_relay_writes_to_whoever_serves(
    scene: Scene, database: Database, desk: Desk, database_urls: DatabaseUrls
) -> None:
    user = await desk.a_user()
    issued = [await desk.a_license(user) for _ in range(12)]
    relay = Relay(database, scene.writer, utc_now, complete=lambda: True)
    await relay.catch_up()
    assert await rows(database_urls, "SELECT 1 FROM outbox WHERE lane = 'projection'") == []
    assert scene.lacking([one.license.license_key_hash for one in issued]) == []
    owner = next(node for node in scene.cluster.primaries if node.serves(slot_of(keys.SYNC)))
    assert owner.ask("EXISTS", keys.SYNC) == 1


async def test_damage_on_any_node_is_found_and_repaired(
    scene: Scene, database: Database, desk: Desk, database_urls: DatabaseUrls
) -> None:
    digests = sorted(await many_licenses(database_urls, await desk.a_user(), 100))
    while not await scene.rebuild.look():
        pass
    reconciliation = Reconciliation(database, scene.writer, utc_now, every=60, load=scene.rebuild.look)
    first = await reconciliation.look("command", ())
    assert first is not None
    assert first.state == "agreed"
    damaged = {scene.cluster.owner(digest[0]).port: digest for digest in digests}
    assert len(damaged) == 3
    for digest in damaged.values():
        scene.cluster.owner(digest[0]).ask("DEL", keys.document(keys.short_hash(digest)))
    second = await reconciliation.look("command", ())
    assert second is not None
    assert (second.state, second.counts["repaired"]) == ("repaired", 3)
    assert scene.lacking(digests) == []
