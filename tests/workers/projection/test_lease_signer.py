"""Leases: every license in good standing has one for its present version, also after lost hints, kills and repeats."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import Any, Final
from uuid import UUID

import pytest
from typing_extensions import override

from billing_api.licensing.leases import repository
from billing_api.licensing.licenses.issuing import Issued
from core.clock import utc_now
from core.hotstore.client import HotStoreClient
from core.hotstore.functions import FunctionsMissing
from core.hotstore.writer import Writer
from core.ids import new_id
from core.licensing.lease import LIFE, LeaseCode, read
from core.licensing.record import LeaseRecord
from devstack.ports import choose
from devstack.valkey import Valkey
from tests.support.databases import as_owner, change, rows
from tests.support.environment import environment
from tests.support.people import Desk
from tests.support.processes import module
from tests.workers.projection.lease_world import K2, LeaseWorld
from tests.workers.world import eventually, many_licenses, touch
from workers.process.listening import listen
from workers.process.supervision import keep_running
from workers.rebuild.rebuild import Rebuild

HALF: Final = timedelta(seconds=LIFE / 2)
SPREAD: Final = timedelta(seconds=LIFE / 8)
SECOND: Final = timedelta(seconds=1)


@asynccontextmanager
async def at_work(world: LeaseWorld) -> AsyncIterator[None]:
    """Relay and signer as the process runs them, woken by the database."""
    world.clock = utc_now  # type: ignore[method-assign]  # nobody turns it here
    leases = world.leases()
    relay = world.relay(leases)
    wakers: Any = {"projection": relay.wakeup.wake}
    parts = {"relay": relay.run, "leases": leases.run, "listen": lambda: listen(world.urls.worker, wakers)}
    tasks = [asyncio.create_task(keep_running(name, part)) for name, part in parts.items()]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_license_has_its_lease(world: LeaseWorld, issued: Issued) -> None:
    assert await world.leases().sweep() == 1
    assert await world.in_force() == 1
    code, terms, _ = await world.reading(issued)
    assert code is LeaseCode.VALID
    assert terms is not None
    assert (terms.sub, terms.version) == (issued.license.id, 1)
    assert (terms.limits["databases"], terms.features["staging"]) == (50, True)
    assert "support" not in terms.features  # it describes, and grants nothing
    (row,) = await world.stored()
    assert (row["kid"], row["user_id"]) == ("k1", issued.license.user_id)
    assert row["not_after"].timestamp() == terms.not_after


async def test_what_is_done_is_not_done_again(world: LeaseWorld, issued: Issued) -> None:
    leases = world.leases()
    await leases.sweep()
    assert await leases.sweep() == 0
    leases.changed([issued.license.id])
    await leases.keep_up()
    assert world.signed == [1]


async def test_a_silent_redis_keeps_no_license_locked_for_longer_than_others_wait(
    world: LeaseWorld, issued: Issued, valkey_server: Valkey
) -> None:
    leases = world.leases()
    await leases.keep_up()  # the keys are published
    leases._next_publication = float("inf")
    leases.changed([issued.license.id])
    assert valkey_server.call("CLIENT", "PAUSE", "60000", "WRITE") == "+OK"
    try:
        signing = asyncio.create_task(leases.keep_up())
        signed = "SELECT 1 FROM pg_locks WHERE relation = 'leases'::regclass AND mode = 'RowExclusiveLock'"
        await eventually(lambda: rows(world.urls, signed))
        began = monotonic()
        await change(world.urls, "UPDATE licenses SET max_databases = 7 WHERE id = :id", id=issued.license.id)
        assert monotonic() - began < 4
        with pytest.raises(TimeoutError):
            await signing
    finally:
        assert valkey_server.call("CLIENT", "UNPAUSE") == "+OK"


async def test_a_new_version_has_a_lease_of_its_own(world: LeaseWorld, issued: Issued) -> None:
    leases = world.leases()
    await leases.sweep()
    await change(world.urls, "UPDATE licenses SET max_databases = 7 WHERE id = :id", id=issued.license.id)
    assert await leases.sweep() == 1
    _, terms, _ = await world.reading(issued)
    assert terms is not None
    assert (terms.version, terms.limits["databases"]) == (2, 7)
    assert len(await world.stored()) == 1


async def test_a_lease_is_signed_again_at_half_of_its_life(world: LeaseWorld, issued: Issued) -> None:
    leases = world.leases()
    await leases.sweep()
    first = await world.projected(issued.license.license_key_hash)
    world.now += HALF - SECOND
    assert await leases.sweep() == 0
    world.now += SPREAD + 2 * SECOND
    assert await leases.sweep() == 1
    second = await world.projected(issued.license.license_key_hash)
    assert first is not None
    assert second is not None
    assert second.not_after > first.not_after > world.now.timestamp()  # nobody was ever without


@pytest.mark.parametrize("days", [2, 9, 400])
async def test_nobody_signed_for_days_then_one_look(world: LeaseWorld, desk: Desk, days: int) -> None:
    await many_licenses(world.urls, await desk.a_user(), 50)
    leases = world.leases(batch=20)
    assert await leases.sweep() == 50
    world.now += timedelta(days=days)
    assert await leases.sweep() == 50
    assert await world.in_force() == 50
    ends = [row["not_after"] for row in await world.stored()]
    assert min(ends) >= world.now + timedelta(seconds=LIFE) - SECOND
    assert max(ends) <= world.now + timedelta(seconds=LIFE) + SPREAD
    assert len(set(ends)) > 25  # they will not all come back in one second


@pytest.mark.parametrize("status", ["suspended", "cancelled", "expired"])
async def test_who_does_not_stand_has_no_lease(world: LeaseWorld, issued: Issued, status: str) -> None:
    """Over the relay alone, and over the sweep alone: whichever comes first."""
    leases = world.leases()
    await leases.sweep()
    stand_or_not = "UPDATE licenses SET status = CAST(:status AS license_status) WHERE id = :id"
    await change(world.urls, stand_or_not, status=status, id=issued.license.id)
    await world.relay().catch_up()
    record = await world.projected(issued.license.license_key_hash)
    assert record is not None
    assert (record.version, record.token, record.not_after) == (2, "", 0)
    assert await leases.sweep() == 1
    assert await world.stored() == []
    leases = world.leases()
    assert await leases.sweep() == 0  # there is nothing left to take away
    await change(world.urls, stand_or_not, status="active", id=issued.license.id)
    assert await leases.sweep() == 1
    assert (await world.reading(issued)).code is LeaseCode.VALID


async def test_the_sweep_takes_a_lease_away_where_the_hint_was_lost(world: LeaseWorld, issued: Issued) -> None:
    leases = world.leases()
    await leases.sweep()
    await change(world.urls, "UPDATE licenses SET status = 'suspended'")
    assert await leases.sweep() == 1
    record = await world.projected(issued.license.license_key_hash)
    assert record is not None
    assert (record.version, record.token) == (2, "")
    assert await world.stored() == []


async def test_the_calendar_ends_a_lease_without_a_new_version(world: LeaseWorld, issued: Issued) -> None:
    await change(
        world.urls,
        "UPDATE licenses SET expiry_date = :expiry, grace_until = :grace",
        expiry=world.now + timedelta(hours=1),
        grace=world.now + timedelta(hours=2),
    )
    leases = world.leases()
    assert await leases.sweep() == 1
    world.now += timedelta(hours=1.5)
    assert await leases.sweep() == 0
    assert (await world.reading(issued)).code is LeaseCode.GRACE
    world.now += timedelta(hours=1)
    assert await leases.sweep() == 1
    assert await world.stored() == []
    record = await world.projected(issued.license.license_key_hash)
    assert record is not None
    assert record.token == ""


async def test_a_suspended_license_loses_its_lease_within_a_second(
    world: LeaseWorld, desk: Desk, issued: Issued
) -> None:
    license_hash = issued.license.license_key_hash

    async def has_lease() -> bool:
        record = await world.projected(license_hash)
        return record is not None and record.token != ""

    async def has_none() -> bool:
        record = await world.projected(license_hash)
        return record is not None and record.token == "" and not await world.stored()

    async with at_work(world):
        await eventually(has_lease)
        await change(world.urls, "UPDATE licenses SET status = 'suspended'")
        await eventually(has_none, within=1)
        await change(world.urls, "UPDATE licenses SET status = 'active'")
        await eventually(has_lease, within=1)
        newcomer = await desk.a_license(issued.license.user_id)
        license_hash = newcomer.license.license_key_hash
        await eventually(has_lease, within=1)
    assert await world.in_force() == 2


async def test_two_signers_at_once_share_the_work(world: LeaseWorld, desk: Desk) -> None:
    await many_licenses(world.urls, await desk.a_user(), 400)
    both = [world.leases(batch=20), world.leases(batch=20)]
    done = await asyncio.gather(*(leases.sweep() for leases in both))
    assert sum(done) == sum(world.signed) == 400
    assert min(done) > 0
    assert await world.in_force() == 400


async def test_two_signers_with_the_same_hints_sign_once(world: LeaseWorld, desk: Desk) -> None:
    await many_licenses(world.urls, await desk.a_user(), 100)
    ids = [row["id"] for row in await rows(world.urls, "SELECT id FROM licenses")]
    both = [world.leases(batch=10), world.leases(batch=10)]
    for leases in both:
        leases.changed(ids)
    await asyncio.gather(*(leases.keep_up() for leases in both))
    assert sum(world.signed) == 100
    assert await world.in_force() == 100


@pytest.mark.parametrize("after", [1, 3, 7])
async def test_stopped_anywhere_and_begun_again(world: LeaseWorld, desk: Desk, after: int) -> None:
    await many_licenses(world.urls, await desk.a_user(), 200)
    leases = world.leases(batch=20)
    first = asyncio.create_task(leases.sweep())
    while len(world.signed) < after:  # noqa: ASYNC110  it tells by its list alone
        await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert 20 * after <= await world.in_force() < 200
    await world.leases().sweep()
    assert await world.in_force() == 200


async def test_no_lease_is_committed_that_the_hot_store_was_not_told(world: LeaseWorld, issued: Issued) -> None:
    leases = world.leases()
    await world.redis.execute_command("FUNCTION", "FLUSH")  # type: ignore[no-untyped-call]  # redis-py left it untyped
    with pytest.raises(FunctionsMissing):
        await leases.sweep()
    assert await world.stored() == []
    await world.writer.load_functions()
    assert await leases.sweep() == 1
    assert await world.in_force() == 1


class Emptied(Writer):
    """Writes to a server that loses everything once, right after it has been told the first leases."""

    emptied = False

    @override
    async def apply_leases(self, leases: Sequence[tuple[bytes, LeaseRecord]]) -> int:
        written = await super().apply_leases(leases)
        if not self.emptied:
            self.emptied = True
            await self.client._redis.flushall()
        return written


async def test_a_store_emptied_before_the_commit_has_the_lease_after_it(world: LeaseWorld, issued: Issued) -> None:
    """A rebuild that read between the two would not have seen it."""
    world.writer = Emptied(HotStoreClient(world.redis))
    assert await world.leases().sweep() == 1
    assert await world.in_force() == 1


async def test_a_worker_killed_while_it_signs(world: LeaseWorld, desk: Desk, valkey: str, tmp_path: Path) -> None:
    """The real process; another one ends what it began."""
    total = 3000
    await many_licenses(world.urls, await desk.a_user(), total)
    port = choose("127.0.0.1")
    env = environment(world.urls, redis_url=valkey, NP_WORKER_PORT=str(port))
    worker = {"health": f"http://127.0.0.1:{port}/health/live", "log": tmp_path / "log", "env": env}

    async def signed() -> int:
        return int((await rows(world.urls, "SELECT count(*) AS n FROM leases"))[0]["n"])

    with module("workers", **worker) as first:  # type: ignore[arg-type]  # each of its own type
        await eventually(signed)
        first.kill()
        first.wait()
    assert await signed() < total

    async def all_signed() -> bool:
        return await signed() == total

    with module("workers", **worker):  # type: ignore[arg-type]  # each of its own type
        await eventually(all_signed, within=30)
    assert await world.in_force() == total


async def test_a_change_during_the_signature_is_signed_next(world: LeaseWorld, desk: Desk) -> None:
    """The storm ends with every lease speaking of the last version."""
    await many_licenses(world.urls, await desk.a_user(), 60)
    leases = world.leases(batch=10)
    for _ in range(5):
        await asyncio.gather(leases.sweep(), change(world.urls, "UPDATE licenses SET auto_renew = NOT auto_renew"))
    await leases.sweep()
    assert await world.in_force() == 60
    assert {row["version"] for row in await world.stored()} == {6}


async def test_usage_reports_do_not_wait_for_a_claim(world: LeaseWorld, issued: Issued) -> None:
    criteria = repository.DueCriteria(world.now, world.now + HALF, ["k1"])
    async with world.database.as_system() as tx:
        assert await repository.claim_due(tx, criteria, after=UUID(int=0), most=10) == [issued.license.id]
        async with asyncio.timeout(5):
            reported = await change(
                world.urls,
                "INSERT INTO license_usage (license_id, resource, user_id, used, version)"
                " VALUES (:id, 'databases', :user, 1, 1)",
                id=issued.license.id,
                user=issued.license.user_id,
            )
    assert reported == 1


async def test_an_emptied_store_is_filled_again_and_nothing_is_signed(world: LeaseWorld, desk: Desk) -> None:
    digests = await many_licenses(world.urls, await desk.a_user(), 100)
    leases = world.leases()
    await leases.sweep()
    before = await world.stored()
    await world.redis.flushall()
    assert await Rebuild(world.database, world.writer, page=20).look()
    assert await world.in_force() == len(digests)
    assert await world.stored() == before
    assert await leases.sweep() == 0
    assert world.signed == [100]


async def test_a_rebuild_that_read_before_does_not_bring_the_old_lease_back(world: LeaseWorld, issued: Issued) -> None:
    leases = world.leases()
    await leases.sweep()
    old = await world.projected(issued.license.license_key_hash)
    await change(world.urls, "DELETE FROM lease_keys")
    world.now += SECOND
    await world.leases(K2).sweep()
    new = await world.projected(issued.license.license_key_hash)
    assert old is not None
    assert new is not None
    assert await world.writer.apply_leases([(issued.license.license_key_hash, old)]) == 0
    assert await world.projected(issued.license.license_key_hash) == new
    assert new.token != old.token


async def test_a_rotated_license_key_takes_its_lease_along(world: LeaseWorld, issued: Issued) -> None:
    leases = world.leases()
    await leases.sweep()
    old, new = issued.license.license_key_hash, bytes(range(32))
    await change(world.urls, "UPDATE licenses SET license_key_hash = :new", new=new)
    await world.relay(leases).catch_up()
    await leases.keep_up()
    retired, present = await world.projected(old), await world.projected(new)
    assert retired is not None
    assert present is not None
    assert retired.token == ""
    assert read(present.token, await world.jwks(), now=world.now.timestamp()).code is LeaseCode.VALID


async def test_one_broken_license_does_not_keep_the_rest_out(world: LeaseWorld, desk: Desk) -> None:
    await many_licenses(world.urls, await desk.a_user(), 30)
    broken = "UPDATE licenses SET license_key_hash = '\\x1234' WHERE id = (SELECT min(id::text)::uuid FROM licenses)"
    await change(world.urls, broken)
    assert await world.leases(batch=7).sweep() == 29
    assert await world.in_force() == 29


async def test_a_locked_license_is_left_for_the_next_look(world: LeaseWorld, desk: Desk) -> None:
    await many_licenses(world.urls, await desk.a_user(), 10)
    leases = world.leases(batch=3)
    async with as_owner(world.urls) as owner:
        await owner.exec_driver_sql("SELECT FROM licenses ORDER BY id LIMIT 4 FOR UPDATE")
        async with asyncio.timeout(10):
            assert await leases.sweep() == 6
    assert await leases.sweep() == 4


async def test_more_hints_than_are_kept_become_one_pass(world: LeaseWorld, issued: Issued) -> None:
    async with at_work(world):
        await eventually(world.in_force)
        await touch(world.urls, issued)
        await eventually(world.in_force, within=2)
    leases = world.leases()
    leases.changed(new_id() for _ in range(30_000))
    await leases.keep_up()
    assert sum(world.signed) == 2  # none of those many was looked for, one by one
