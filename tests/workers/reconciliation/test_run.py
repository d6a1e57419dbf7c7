"""Reconciliation: damage of every kind is found, written down and repaired; traffic is not taken for damage."""

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from core.hotstore import codec, keys
from core.hotstore.client import HotStoreClient
from core.hotstore.comparison import (
    LICENSES,
    Comparison,
    Repair,
)
from core.hotstore.writer import Writer
from tests.support.databases import change, rows
from tests.workers.scene import FORGED, KEY, LICENSED, Scene
from tests.workers.world import HotStore, eventually


async def test_what_agrees_is_said_to(scene: Scene) -> None:
    report = await scene.look(thorough=True)
    assert report.state == "agreed"
    assert report.counts["licenses"] == LICENSED + 1
    assert report.counts["api_keys"] == 1
    assert report.counts["records"] == LICENSED + 2
    assert report.counts["totals"] == report.counts["events"] == LICENSED
    assert scene.told == []


async def test_a_deleted_document_is_put_back(scene: Scene) -> None:
    before = await scene.redis.get(scene.document)
    await scene.redis.delete(scene.document)
    report = await scene.look()
    assert (report.state, report.counts["differences"], report.counts["repaired"]) == ("repaired", 1, 1)
    assert await scene.found() == [("license", "missing", scene.name, "repaired")]
    assert scene.told == [("license", "missing")]
    assert await scene.redis.get(scene.document) == before
    await scene.agrees()


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"databases": "3"}, "wrong"),
        ({"databases": "3", "databases:v": "1:1"}, "older"),
        ({"databases": "3", "databases:v": "1:99"}, "newer"),
        ({"databases": "many"}, "wrong"),
        ({"databases:v": "x"}, "wrong"),
        ({"emails": "7", "emails:v": "1:1"}, "unknown"),
    ],
)
async def test_a_total_edited_by_hand_is_set_right(scene: Scene, fields: dict[str, str], fault: str) -> None:
    usage = keys.usage(scene.name)
    right = await scene.redis.hgetall(usage)  # type: ignore[misc]  # redis-py types both of its clients at once
    await scene.redis.hset(usage, mapping=fields)  # type: ignore[misc]  # as above
    assert (await scene.look()).state == "repaired"
    assert await scene.found() == [("total", fault, scene.name, "repaired")]
    assert await scene.redis.hgetall(usage) == right  # type: ignore[misc]  # as above
    await scene.agrees()


@pytest.mark.parametrize("fields", [["databases"], ["databases:v"], ["databases", "databases:v"]])
async def test_a_total_that_is_gone_is_put_back(scene: Scene, fields: list[str]) -> None:
    await scene.redis.hdel(keys.usage(scene.name), *fields)  # type: ignore[misc]  # as above
    assert (await scene.look()).state == "repaired"
    await scene.agrees()


async def test_another_version_gives_way(scene: Scene) -> None:
    await change(scene.urls, "UPDATE licenses SET auto_renew = NOT auto_renew")
    await scene.relay.catch_up()
    record = await HotStore(scene.redis).license(scene.digests[0])
    assert record is not None
    for version, fault in ((1, "older"), (99, "newer")):
        other = msgspec.structs.replace(record, version=version)
        await scene.redis.set(scene.document, codec.encode_license(other))
        assert (await scene.look()).state == "repaired"
        assert await scene.found() == [("license", fault, scene.name, "repaired")]
    assert await HotStore(scene.redis).license(scene.digests[0]) == record


async def test_limits_edited_by_hand_are_found_field_by_field(scene: Scene) -> None:
    record = await HotStore(scene.redis).license(scene.digests[0])
    assert record is not None
    more = msgspec.structs.replace(record, limits={"databases": 5000})
    await scene.redis.set(scene.document, codec.encode_license(more))
    assert (await scene.look()).state == "agreed", "a digest tells versions only"
    assert (await scene.look(thorough=True)).state == "repaired"
    assert await scene.found() == [("license", "wrong", scene.name, "repaired")]
    assert await HotStore(scene.redis).license(scene.digests[0]) == record


async def test_a_license_that_postgres_does_not_know_is_denied(scene: Scene) -> None:
    record = await HotStore(scene.redis).license(scene.digests[0])
    assert record is not None
    stranger = bytes.fromhex("77" * 16)
    await scene.writer.apply_licenses([(stranger, record)])
    assert (await scene.look()).state == "repaired"
    assert await scene.found() == [("license", "unknown", stranger.hex(), "repaired")]
    denied = await HotStore(scene.redis).license(stranger)
    assert denied is not None
    assert denied.tombstone
    await scene.agrees()
    await scene.writer.apply_licenses([(stranger, record)])
    assert not (await HotStore(scene.redis).license(stranger)).tombstone, "should it come after all, it wins"  # type: ignore[union-attr]


async def test_garbage_is_replaced(scene: Scene) -> None:
    await scene.redis.set(scene.document, b"not msgpack")
    await scene.redis.delete(other := keys.document(keys.short_hash(scene.digests[1])))
    await scene.redis.rpush(other, "a list")  # type: ignore[misc]  # as above
    await scene.redis.set(usage := keys.usage(keys.short_hash(scene.digests[2])), "no hash")
    assert (await scene.look()).state == "repaired"
    assert {(subject, fault) for subject, fault, _, _ in await scene.found()} >= {
        ("license", "wrong"),
        ("total", "wrong"),
    }
    assert await scene.redis.type(usage) == b"hash"
    await scene.agrees()


async def test_the_index_is_mended_and_that_is_no_difference(scene: Scene) -> None:
    index = keys.index(scene.digests[0][0])
    await scene.redis.zrem(index, scene.name)
    await scene.redis.zadd(index, {f"{scene.name[:2]}{'f' * 30}": 0, "zz": 0})
    assert (await scene.look()).state == "agreed"
    held = await scene.redis.zrange(index, 0, -1)
    assert scene.name.encode() in held
    assert f"{scene.name[:2]}{'f' * 30}".encode() not in held


async def test_an_api_key_is_put_back_or_switched_off(scene: Scene) -> None:
    await scene.redis.delete(keys.api_key(KEY))
    await scene.writer.apply_api_keys([FORGED])
    assert (await scene.look()).state == "repaired"
    assert sorted(await scene.found()) == [
        ("api_key", "missing", KEY, "repaired"),
        ("api_key", "unknown", "npk_forged", "repaired"),
    ]
    switched_off = await HotStore(scene.redis).api_key("npk_forged")
    assert switched_off is not None
    assert not switched_off.active
    await scene.agrees()


async def test_a_deleted_mark_is_found_and_waited_for(scene: Scene) -> None:
    await scene.redis.delete(keys.mark(3), keys.mark(4), keys.mark(9))
    assert (await scene.look()).state == "repaired"
    assert await scene.found() == [
        ("bucket", "missing", "03-04", "repaired"),
        ("bucket", "missing", "09-09", "repaired"),
    ]
    await scene.agrees()


async def test_a_mark_that_nobody_sets_is_left_as_a_difference(scene: Scene) -> None:
    await scene.redis.delete(keys.mark(3))

    async def nobody() -> bool:
        return False

    scene.reconciliation = scene.reconciling(load=nobody, rebuilt_within=0)
    await scene.redis.delete(scene.document)
    report = await scene.look()
    assert (report.state, report.counts["repaired"]) == ("differing", 1)


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM usage_events WHERE license_id = :id",
        "UPDATE usage_events SET used_after = 2 WHERE license_id = :id",
        "UPDATE usage_events SET seq = 2 WHERE license_id = :id",
        "UPDATE usage_events SET count = 2 WHERE license_id = :id",
        "UPDATE license_usage SET used = 2 WHERE license_id = :id",
        "UPDATE license_usage SET events = 2 WHERE license_id = :id",
        "DELETE FROM license_usage WHERE license_id = :id",
    ],
)
async def test_totals_that_do_not_equal_their_events_are_evidence(scene: Scene, damage: str) -> None:
    [row] = await rows(scene.urls, "SELECT id FROM licenses WHERE license_key_hash = :h", h=scene.digests[0])
    assert await change(scene.urls, damage, id=row["id"]) == 1
    await scene.relay.catch_up()
    before = await rows(scene.urls, "SELECT * FROM license_usage ORDER BY license_id")
    report = await scene.look(thorough=True)
    assert report.state == "differing"
    assert ("events", "wrong", f"{row['id']} databases", "evidence") in await scene.found()
    assert await rows(scene.urls, "SELECT * FROM license_usage ORDER BY license_id") == before


async def _add_event(scene: Scene, row: Mapping[str, Any], number: int, action: str, count: int, after: int) -> None:
    await change(
        scene.urls,
        "INSERT INTO usage_events (license_id, user_id, resource, action, count, idempotency_key, body_hash,"
        " used_after, seq, is_overage, occurred_at) VALUES (:id, :user, 'databases',"
        f" '{action}', :count, :key, '', :after, :seq, false, now())",
        id=row["id"],
        user=row["user_id"],
        count=count,
        key=f"k{number}",
        after=after,
        seq=number,
    )


async def test_a_chain_of_every_action_is_proved(scene: Scene) -> None:
    [row] = await rows(scene.urls, "SELECT id, user_id FROM licenses WHERE license_key_hash = :h", h=scene.digests[0])
    steps: list[tuple[str, int, int]] = [
        ("created", 4, 5),
        ("deleted", 7, -2),
        ("set", 9, 9),
        ("deleted", 10, -1),
        ("corrected", 1, 0),
        ("created", 8, 8),
    ]
    for number, step in enumerate(steps, 2):
        await _add_event(scene, row, number, *step)
    await change(scene.urls, "UPDATE license_usage SET used = 8, events = 7 WHERE license_id = :id", id=row["id"])
    await scene.relay.catch_up()
    await scene.agrees()
    for broken in ("action = 'corrected' WHERE seq = 2", "used_after = 1, count = 2 WHERE action = 'corrected'"):
        before = await rows(scene.urls, "SELECT seq, action::text, count, used_after FROM usage_events")
        await change(scene.urls, f"UPDATE usage_events SET {broken}")
        assert (await scene.look(thorough=True)).state == "differing", broken
        for event in before:
            await change(
                scene.urls,
                "UPDATE usage_events SET action = CAST(:action AS usage_action), count = :count,"
                " used_after = :used_after WHERE seq = :seq AND license_id = :id",
                id=row["id"],
                **event,
            )
    await scene.agrees()
    await change(scene.urls, "DELETE FROM usage_events WHERE license_id = :id AND seq = 3", id=row["id"])
    assert (await scene.look(thorough=True)).state == "differing"


async def test_a_change_that_nobody_projects_is_told(scene: Scene) -> None:
    await change(
        scene.urls,
        "INSERT INTO outbox (lane, job, created_at, due_at, last_error)"
        """ VALUES ('projection', '{"type": "from_tomorrow"}', now() - interval '2 minutes', now(), 'cannot')""",
    )
    assert (await scene.look()).state == "differing"
    assert [(subject, fault) for subject, fault, _, _ in await scene.found()] == [("job", "stuck")]


async def test_traffic_is_not_taken_for_damage(scene: Scene) -> None:
    ended = asyncio.Event()
    written = 0

    async def writing() -> None:
        nonlocal written
        while not ended.is_set():
            await change(scene.urls, "UPDATE licenses SET auto_renew = NOT auto_renew WHERE random() < 0.3")
            await change(scene.urls, "UPDATE license_usage SET used = used + 1 WHERE random() < 0.3")
            written += 1
            await asyncio.sleep(0.03)  # a busy system, and not one that does nothing else

    async def relaying() -> None:
        while not ended.is_set():
            await scene.relay.catch_up()
            await asyncio.sleep(0.03)  # late enough to be seen by every look

    traffic = [asyncio.create_task(writing()), asyncio.create_task(relaying())]
    reports = [await scene.look() for _ in range(4)]
    ended.set()
    await asyncio.gather(*traffic)
    assert written > 10
    assert [(report.state, report.counts["differences"]) for report in reports] == [("agreed", 0)] * 4
    await scene.relay.catch_up()
    assert (await scene.look()).counts["undecided"] == 0


async def test_damage_is_found_under_traffic(scene: Scene) -> None:
    ended = asyncio.Event()

    async def relaying() -> None:
        while not ended.is_set():
            await change(
                scene.urls,
                "UPDATE licenses SET auto_renew = NOT auto_renew WHERE license_key_hash <> :h",
                h=scene.digests[0],
            )
            await scene.relay.catch_up()

    traffic = asyncio.create_task(relaying())
    await scene.redis.delete(scene.document)
    assert (await scene.look()).state == "repaired"
    ended.set()
    await traffic
    assert await scene.redis.exists(scene.document)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE licenses SET auto_renew = NOT auto_renew WHERE license_key_hash = :h",
        "UPDATE license_usage SET used = used + 1 FROM licenses WHERE id = license_id AND license_key_hash = :h",
    ],
)
async def test_what_the_relay_has_not_brought_yet_is_undecided(scene: Scene, statement: str) -> None:
    await change(scene.urls, statement, h=scene.digests[0])
    scene.reconciliation = scene.reconciling(repaired_within=0)
    report = await scene.look()
    assert (report.state, report.counts["undecided"]) == ("agreed", 1)


async def test_two_at_once_are_one(scene: Scene) -> None:
    await scene.redis.delete(scene.document)
    both = await asyncio.gather(*(scene.reconciling().look("command", ()) for _ in range(2)))
    assert [report for report in both if report is None] == [None]
    assert scene.told == [("license", "missing")]


async def test_a_scheduled_run_waits_for_its_minute(scene: Scene) -> None:
    assert await scene.reconciliation.look("schedule", ()) is not None
    assert await scene.reconciliation.look("schedule", ()) is None
    assert await scene.reconciliation.look("command", ()) is not None


async def test_a_run_that_was_killed_is_told(scene: Scene) -> None:
    at_work = asyncio.create_task(scene.look(thorough=True))
    running = "SELECT 1 FROM reconciliation_runs WHERE state = 'running'"
    await eventually(lambda: rows(scene.urls, running))
    at_work.cancel()
    await asyncio.wait([at_work])
    await scene.agrees()
    states = await rows(scene.urls, "SELECT state, error FROM reconciliation_runs ORDER BY started_at")
    assert [row["state"] for row in states] == ["failed", "agreed"]
    assert "broken off" in states[0]["error"]


async def test_a_flush_in_the_midst_is_not_taken_for_damage(scene: Scene) -> None:
    flushing: list[asyncio.Task[None]] = []

    async def flush() -> None:
        await scene.redis.flushall()

    def progress(_what: str, done: int, _of: int) -> None:
        if done >= 8 and not flushing:
            flushing.append(asyncio.create_task(flush()))

    report = await scene.reconciliation.look("command", (), progress)
    assert report is not None
    await flushing[0]
    assert report.state == "repaired"
    assert await scene.found() == [("bucket", "missing", "00-ff", "repaired")]  # waited for; no record is at fault
    await scene.agrees()


async def test_a_repair_never_undoes_what_came_meanwhile(scene: Scene) -> None:
    """What is put in place is put in place of what was seen."""
    comparison = Comparison(scene.writer.client)
    [seen] = (await comparison.stored(LICENSES, [scene.name])).values()
    await change(
        scene.urls, "UPDATE licenses SET auto_renew = NOT auto_renew WHERE license_key_hash = :h", h=scene.digests[0]
    )
    await scene.relay.catch_up()
    assert await comparison.repair(LICENSES, [Repair(scene.name, seen, b"overwritten", None, {})]) == [False]
    assert (await HotStore(scene.redis).license(scene.digests[0])).version == 2  # type: ignore[union-attr]


async def test_without_redis_a_run_fails_visibly(scene: Scene, valkey: str) -> None:
    async with Redis.from_url("redis://127.0.0.1:1") as nowhere:
        scene.writer = Writer(HotStoreClient(nowhere))
        with pytest.raises(RedisError):
            await scene.reconciling().look("command", ())
    [run] = await rows(scene.urls, "SELECT state, error FROM reconciliation_runs")
    assert run["state"] == "failed"
    assert "ConnectionError" in run["error"]


async def test_missing_functions_are_loaded_for_the_next_run(scene: Scene) -> None:
    await HotStore(scene.redis).forget_functions()
    with pytest.raises(Exception, match="not loaded"):
        await scene.look()
    await scene.agrees()
