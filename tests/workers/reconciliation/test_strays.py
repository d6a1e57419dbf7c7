"""Stray keys, which no index names, and leftovers of a killed run: the next run finds both."""

import asyncio
import subprocess
import sys

from sqlalchemy import text

from core.hotstore import codec, keys
from core.settings import process_environment
from tests.support.databases import as_owner, rows
from tests.support.servers import ROOT
from tests.workers.scene import FORGED, LICENSED, Scene
from tests.workers.world import HotStore, eventually


async def test_a_document_that_no_index_names_is_found_and_denied(scene: Scene) -> None:
    record = await HotStore(scene.redis).license(scene.digests[0])
    assert record is not None
    stranger = "77" * 16
    await scene.redis.set(keys.document(stranger), codec.encode_license(record))
    await scene.redis.set(keys.api_key("npk_forged"), codec.encode_api_key(FORGED))
    await scene.redis.set(keys.document("88" * 16), b"not msgpack")
    assert (await scene.look()).state == "repaired"
    assert sorted(await scene.found()) == [
        ("api_key", "unknown", "npk_forged", "repaired"),
        ("license", "unknown", stranger, "repaired"),
        ("license", "unknown", "88" * 16, "repaired"),
    ]
    denied = await HotStore(scene.redis).license(bytes.fromhex(stranger))
    assert denied is not None
    assert denied.tombstone
    switched_off = await HotStore(scene.redis).api_key("npk_forged")
    assert switched_off is not None
    assert not switched_off.active
    await scene.agrees()


async def test_a_key_that_can_be_none_of_ours_is_told_and_left_alone(scene: Scene) -> None:
    odd = ["npd:{3f}:zz", f"npd:{{00}}:{'77' * 16}", "npd:", "npa:{00}:npk_forged"]
    for name in odd:
        await scene.redis.set(name, b"\x92\x01\x01")
    assert (await scene.look()).state == "differing"
    assert await scene.found() == [("key", "unknown", name, "evidence") for name in sorted(odd)]
    assert await scene.redis.exists(*odd) == len(odd)


async def test_a_run_that_is_killed_leaves_nothing_that_the_next_does_not_find(scene: Scene, valkey_url: str) -> None:
    """Killed between two repairs: a license that somebody has locked keeps the run from getting past its bucket."""
    names = [keys.short_hash(digest) for digest in scene.digests]
    before = {name: await scene.redis.get(keys.document(name)) for name in names}
    await scene.redis.delete(*(keys.document(name) for name in names))
    await scene.redis.set(keys.api_key("npk_forged"), codec.encode_api_key(FORGED))
    env = process_environment() | {"WORKER_DATABASE_URL": scene.urls.worker, "REDIS_URL": valkey_url}
    async with as_owner(scene.urls) as holding:
        locked = {"digest": scene.digests[LICENSED // 2]}
        await holding.execute(text("SELECT 1 FROM licenses WHERE license_key_hash = :digest FOR UPDATE"), locked)
        run = await asyncio.to_thread(
            subprocess.Popen, (sys.executable, "-m", "workers.commands.reconcile_now"), cwd=ROOT, env=env
        )
        repaired = "SELECT 1 FROM reconciliation_differences WHERE outcome = 'repaired'"
        try:
            await eventually(lambda: rows(scene.urls, repaired), within=120)
        finally:
            run.kill()
            run.wait()
    assert 0 < await scene.redis.exists(*(keys.document(name) for name in names)) < LICENSED
    assert len(await HotStore(scene.redis).loaded()) == keys.BUCKETS
    assert [row["state"] for row in await rows(scene.urls, "SELECT state FROM reconciliation_runs")] == ["running"]

    assert (await scene.look(thorough=True)).state == "repaired"
    assert {name: await scene.redis.get(keys.document(name)) for name in names} == before
    runs = await rows(scene.urls, "SELECT state, error FROM reconciliation_runs ORDER BY started_at")
    assert [run["state"] for run in runs] == ["failed", "repaired"]
    assert "broken off" in runs[0]["error"]
    await scene.agrees()
