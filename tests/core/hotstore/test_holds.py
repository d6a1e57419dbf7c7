"""Holds in Redis: counted once, never over the limit, and released when they should be."""

import asyncio

import pytest
from redis.asyncio import Redis

from core.clock import unix_time
from core.crypto import signature
from core.hotstore import keys
from core.hotstore.writer import Hold, Pinned, UsageTotal
from tests.core.hotstore.conftest import HotStore, a_license


@pytest.fixture
async def digest(store: HotStore) -> bytes:
    """A license of three domains in a store that is loaded."""
    await store.load()
    digest, record = a_license()
    await store.writer.apply_licenses([(digest, record)])
    return digest


async def held(store: HotStore, digest: bytes) -> int:
    return (await store.reader.read(digest)).usage.held.get("domains", 0)


async def until_held(store: HotStore, digest: bytes, number: int) -> None:
    async with asyncio.timeout(5):
        while True:
            if await held(store, digest) == number:
                return
            await asyncio.sleep(0.01)


async def eventually_ended(store: HotStore, digest: bytes) -> None:
    async with asyncio.timeout(5):
        while (await store.reader.read(digest)).hold_ends_in is not None:  # noqa: ASYNC110  the server's clock decides
            await asyncio.sleep(0.01)


async def pin(store: HotStore, digest: bytes, reservation_id: str) -> Pinned:
    (answer,) = await store.writer.pin([Hold(digest, reservation_id, "domains")])
    return answer


async def left_behind(redis: Redis) -> list[bytes]:
    return [key for pattern in ("nph:*", "npx:*", "npp:*") async for key in redis.scan_iter(pattern)]


class TestReserve:
    async def test_takes_what_is_left_and_no_more(self, store: HotStore, digest: bytes) -> None:
        await store.writer.apply_usage([UsageTotal(digest, "domains", 1, 1, 1)])
        assert await store.reserve(digest, "a", 1) == ["granted", 1]
        assert await store.reserve(digest, "b", 2) == ["exceeded", 1]
        assert await store.reserve(digest, "c", 1) == ["granted", 0]
        assert await store.reserve(digest, "d", 1) == ["exceeded", 0]
        assert await held(store, digest) == 2

    async def test_again_is_the_same_hold(self, store: HotStore, digest: bytes) -> None:
        assert await store.reserve(digest, "a", 2) == ["granted", 1]
        assert await store.reserve(digest, "a", 2) == ["granted", 1]
        assert await store.reserve(digest, "a", 1) == ["conflict"]
        assert await store.reserve(digest, "a", 2, "databases") == ["conflict"]
        assert await held(store, digest) == 2

    async def test_of_the_unlimited_is_counted_all_the_same(self, store: HotStore, digest: bytes) -> None:
        assert await store.reserve(digest, "a", 1000, "emails") == ["granted", -1]
        assert (await store.reader.read(digest)).usage.held["emails"] == 1000

    async def test_of_what_is_not_granted_is_refused(self, store: HotStore, digest: bytes) -> None:
        assert await store.reserve(digest, "a", 1, "storage_gb") == ["not_granted"]

    async def test_asks_to_judge_again_where_another_document_stands(self, store: HotStore, digest: bytes) -> None:
        assert await store.reserve(digest, "a", version=2) == ["changed"]
        assert await store.reserve(bytes(15) + b"\x09", "a") == ["changed"]
        assert await held(store, digest) == 0

    async def test_needs_a_loaded_bucket_of_this_run(self, store: HotStore, digest: bytes) -> None:
        assert await store.reserve(digest, "a", run_id="another-run") == ["not_ready", 0]
        await store.redis.delete(keys.mark(digest[0]))
        assert await store.reserve(digest, "a") == ["not_ready", 0]

    async def test_waits_where_holds_were_lost(self, store: HotStore, digest: bytes) -> None:
        await store.load(holds_lost=True)
        outcome, wait = await store.reserve(digest, "a")
        assert outcome == "not_ready"
        assert 55_000 < wait <= keys.LONGEST_HOLD * 1000

    async def test_of_a_total_below_zero_does_not_grant_more_than_the_limit(
        self, store: HotStore, digest: bytes
    ) -> None:
        await store.writer.apply_usage([UsageTotal(digest, "domains", -5, 1, 1)])
        assert await store.reserve(digest, "a", 4) == ["exceeded", 3]

    async def test_follows_a_limit_that_shrank(self, store: HotStore, digest: bytes) -> None:
        await store.writer.apply_usage([UsageTotal(digest, "domains", 3, 1, 1)])
        await store.writer.apply_licenses([a_license(version=2, limits={"domains": 1})])
        assert await store.reserve(digest, "a", version=2) == ["exceeded", 0]


class TestTheEndOfAHold:
    async def test_comes_by_server_time_without_a_write(self, store: HotStore, digest: bytes) -> None:
        await store.reserve(digest, "short", 1, ttl_ms=60)
        await store.reserve(digest, "long", 1)
        reading = await store.reader.read(digest)
        assert reading.usage.held == {"domains": 2}
        assert reading.hold_ends_in is not None
        assert 0 < reading.hold_ends_in <= 0.06
        await until_held(store, digest, 1)
        assert await store.reserve(digest, "next", 2) == ["granted", 0]

    async def test_leaves_nothing_behind(self, store: HotStore, digest: bytes) -> None:
        """With and without a later request."""
        await store.reserve(digest, "a", ttl_ms=50)
        await store.reserve(digest, "b", ttl_ms=80)
        h = keys.short_hash(digest)
        last = await store.redis.zscore(keys.hold_ends(h), "b")
        assert last is not None
        ends = await store.writer.client.pipeline([("PEXPIRETIME", key) for key in (keys.holds(h), keys.hold_ends(h))])
        assert ends == [last + keys.LONGEST_DOUBT * 1000] * 2
        await until_held(store, digest, 0)
        assert await store.reserve(digest, "c", 4) == ["exceeded", 3]
        assert await left_behind(store.redis) == []

    async def test_comes_with_its_total_in_one_step(self, store: HotStore, digest: bytes) -> None:
        await store.reserve(digest, "a", 2)
        await store.writer.apply_usage([UsageTotal(digest, "domains", 2, 1, 1, ("a",))])
        usage = (await store.reader.read(digest)).usage
        assert (usage.used, usage.held.get("domains", 0)) == ({"domains": 2}, 0)
        assert await left_behind(store.redis) == []

    async def test_comes_even_with_a_total_that_is_old_news(self, store: HotStore, digest: bytes) -> None:
        """Another relay has applied a newer total; the hold ends all the same."""
        await store.reserve(digest, "a", 2)
        await store.writer.apply_usage([UsageTotal(digest, "domains", 2, 1, 2)])
        assert await store.writer.apply_usage([UsageTotal(digest, "domains", 2, 1, 1, ("a",))]) == 0
        assert await held(store, digest) == 0

    async def test_comes_once(self, store: HotStore, digest: bytes) -> None:
        await store.reserve(digest, "a", 1)
        await store.reserve(digest, "b", 1)
        assert await store.writer.settle(keys.short_hash(digest), ["a", "never-was"]) == 1
        assert await store.writer.settle(keys.short_hash(digest), ["a"]) == 0
        assert await held(store, digest) == 1

    async def test_by_release_gives_back(self, store: HotStore, digest: bytes) -> None:
        await store.reserve(digest, "a", 3)
        assert await store.writer.release(digest, "a")
        assert not await store.writer.release(digest, "a")
        assert await store.reserve(digest, "b", 3) == ["granted", 0]


class TestAnEndedId:
    """A reserve that is sent again after its hold has ended: by a panel that retries, or as a replay attack."""

    async def test_of_a_report_holds_nothing_again(self, store: HotStore, digest: bytes) -> None:
        await store.reserve(digest, "a", 2)
        await pin(store, digest, "a")
        await store.writer.apply_usage([UsageTotal(digest, "domains", 2, 1, 1, ("a",))])
        assert await store.reserve(digest, "a", 2) == ["ended"]
        assert await store.reserve(digest, "a", 1, "emails") == ["ended"]
        assert await held(store, digest) == 0
        assert await store.reserve(digest, "b", 1) == ["granted", 0]

    async def test_of_a_report_is_known_though_its_hold_was_gone(self, store: HotStore, digest: bytes) -> None:
        await store.writer.apply_usage([UsageTotal(digest, "domains", 1, 1, 1, ("a",))])
        assert await store.reserve(digest, "a", 1) == ["ended"]

    async def test_of_a_release_holds_nothing_again(self, store: HotStore, digest: bytes) -> None:
        await store.reserve(digest, "a", 1)
        assert await store.writer.release(digest, "a")
        assert await store.reserve(digest, "a", 1) == ["ended"]

    async def test_of_a_pin_that_was_given_back_holds_nothing_again(self, store: HotStore, digest: bytes) -> None:
        await store.reserve(digest, "a", 1)
        await pin(store, digest, "a")
        await store.writer.settle(keys.short_hash(digest), ["a"])
        assert await store.reserve(digest, "a", 1) == ["ended"]

    async def test_is_refused_whatever_is_left(self, store: HotStore, digest: bytes) -> None:
        await store.reserve(digest, "a", 1)
        await store.writer.release(digest, "a")
        await store.reserve(digest, "b", 3)
        assert await store.reserve(digest, "a", 1) == ["ended"]

    async def test_is_remembered_for_as_long_as_a_request_can_be_sent_again(
        self, store: HotStore, digest: bytes
    ) -> None:
        assert keys.REPLAYABLE == signature.MAX_AGE + signature.MAX_AHEAD
        await store.reserve(digest, "a", 1)
        await store.reserve(digest, "b", 1)
        await store.writer.release(digest, "a")
        await store.writer.release(digest, "b")
        ended = keys.ended(digest[0])
        assert keys.REPLAYABLE - 5 < await store.redis.ttl(ended) <= keys.REPLAYABLE
        await store.redis.zincrby(ended, -1000 * keys.REPLAYABLE, "a")  # as if that time had passed
        assert await store.reserve(digest, "c", 1) == ["granted", 2]  # each reserve clears them away
        assert await store.redis.zrange(ended, 0, -1) == [b"b"]
        assert await store.reserve(digest, "a", 1) == ["granted", 1]

    async def test_that_never_was_is_not_one(self, store: HotStore, digest: bytes) -> None:
        """Otherwise a client could fill the memory by releasing invented ids."""
        assert not await store.writer.release(digest, "a")
        assert await store.reserve(digest, "a", 1) == ["granted", 2]


class TestDoubt:
    """A report that was recorded without a pin: its total may come when its hold has long run out."""

    @pytest.fixture
    async def ran_out(self, store: HotStore, digest: bytes) -> int:
        """One of three domains, and the instant at which its hold "a" has ended."""
        await store.reserve(digest, "a", 1, ttl_ms=30)
        ended = await store.redis.zscore(keys.hold_ends(keys.short_hash(digest)), "a")
        await until_held(store, digest, 0)
        assert ended is not None
        return int(ended)

    async def test_keeps_the_place_of_a_hold_that_ran_out(self, store: HotStore, digest: bytes, ran_out: int) -> None:
        """Until all is projected that was committed up to its end, and a second more."""
        proven = ran_out + keys.HOLD_MARGIN * 1000
        assert await store.reserve(digest, "b", 3, synced_through=proven - 1) == ["behind"]
        assert await store.reserve(digest, "b", 3, synced_through=proven) == ["granted", 0]

    async def test_refuses_nobody_who_needs_another_place(self, store: HotStore, digest: bytes, ran_out: int) -> None:
        assert await store.reserve(digest, "b", 2, synced_through=ran_out) == ["granted", 0]
        assert await store.reserve(digest, "c", 1, "databases", synced_through=ran_out) == ["granted", 49]

    async def test_does_not_make_a_certain_no_uncertain(self, store: HotStore, digest: bytes, ran_out: int) -> None:
        assert await store.reserve(digest, "b", 4, synced_through=ran_out) == ["exceeded", 3]

    async def test_ends_with_the_total_that_contains_the_report(
        self, store: HotStore, digest: bytes, ran_out: int
    ) -> None:
        await store.writer.apply_usage([UsageTotal(digest, "domains", 1, 1, 1, ("a",))])
        assert await store.reserve(digest, "b", 3, synced_through=ran_out) == ["exceeded", 2]
        assert await store.reserve(digest, "b", 2, synced_through=ran_out) == ["granted", 0]

    async def test_grants_nothing_anew_under_the_same_identity(
        self, store: HotStore, digest: bytes, ran_out: int
    ) -> None:
        """Neither while the hold is in doubt, nor later."""
        assert await store.reserve(digest, "a", 1, synced_through=ran_out) == ["ended"]
        assert await store.reserve(digest, "b", 3) == ["granted", 0]
        assert await store.reserve(digest, "a", 1) == ["ended"]

    async def test_is_none_about_the_unlimited(self, store: HotStore, digest: bytes) -> None:
        await store.reserve(digest, "a", 7, "emails", ttl_ms=30)
        ended = await store.redis.zscore(keys.hold_ends(keys.short_hash(digest)), "a")
        assert ended is not None
        await eventually_ended(store, digest)
        assert await store.reserve(digest, "b", 5, "emails", synced_through=int(ended)) == ["granted", -1]

    async def test_of_what_a_loss_took_away_ends_with_the_pause_and_what_was_reported_in_it(
        self, store: HotStore, digest: bytes
    ) -> None:
        await store.load(holds_lost=True)
        over = int(unix_time() * 1000) - 5_000
        await store.writer.client.pipeline(
            [("HSET", keys.mark(digest[0]), "reserve_from", over)]
        )  # as if that time had passed
        proven = over + keys.HOLD_MARGIN * 1000
        assert await store.reserve(digest, "a", synced_through=proven - 1) == ["behind"]
        assert await store.reserve(digest, "a", synced_through=proven) == ["granted", 2]

    async def test_is_about_everything_where_nobody_has_projected_for_too_long(
        self, store: HotStore, digest: bytes
    ) -> None:
        """Holds that ran out longer ago are no longer kept, so nothing may depend on them."""
        long_ago = int(unix_time() - keys.LONGEST_DOUBT) * 1000
        assert await store.reserve(digest, "a", synced_through=long_ago) == ["behind"]
        assert await store.reserve(digest, "a", synced_through=0) == ["behind"]
        assert await store.reserve(digest, "a", synced_through=long_ago + 60_000) == ["granted", 2]


class TestPins:
    async def test_keep_a_hold_while_its_report_is_written_down(self, store: HotStore, digest: bytes) -> None:
        await store.reserve(digest, "pinned", 1, ttl_ms=60)
        await store.reserve(digest, "not", 1, ttl_ms=60)
        assert await pin(store, digest, "pinned") == "pinned"
        await until_held(store, digest, 1)
        assert not await store.writer.release(digest, "pinned")
        assert await store.writer.settle(keys.short_hash(digest), ["pinned"]) == 1
        assert await store.writer.release(digest, "not")
        assert await left_behind(store.redis) == []

    async def test_have_no_end_of_their_own(self, store: HotStore, digest: bytes) -> None:
        await store.reserve(digest, "a", 1, ttl_ms=60)
        assert await pin(store, digest, "a") == "pinned"
        h = keys.short_hash(digest)
        assert await store.redis.zscore(keys.hold_ends(h), "a") == float("inf")
        assert [await store.redis.pttl(key) for key in (keys.holds(h), keys.hold_ends(h))] == [-1, -1]
        reading = await store.reader.read(digest)
        assert (reading.usage.held, reading.hold_ends_in) == ({"domains": 1}, None)

    async def test_outlive_the_holds_beside_them(self, store: HotStore, digest: bytes) -> None:
        await store.reserve(digest, "a", 1)
        assert await pin(store, digest, "a") == "pinned"
        await store.reserve(digest, "b", 1, ttl_ms=30)
        await until_held(store, digest, 1)
        assert await store.reserve(digest, "c", 2) == ["granted", 0]
        assert await store.redis.pttl(keys.holds(keys.short_hash(digest))) == -1

    async def test_may_be_set_again(self, store: HotStore, digest: bytes) -> None:
        await store.reserve(digest, "a", 2)
        assert [await pin(store, digest, "a") for _ in range(2)] == ["pinned", "pinned"]
        assert await held(store, digest) == 2
        assert await store.reserve(digest, "a", 2) == ["granted", 1]

    async def test_find_nothing_where_the_hold_is_gone(self, store: HotStore, digest: bytes) -> None:
        assert await pin(store, digest, "never-was") == "gone"
        await store.reserve(digest, "a", 1, ttl_ms=30)
        await until_held(store, digest, 0)
        assert await store.reserve(digest, "b", 3) == ["granted", 0]
        assert await pin(store, digest, "a") == "gone"

    async def test_keep_a_hold_that_ran_out_and_whose_place_nobody_took(self, store: HotStore, digest: bytes) -> None:
        await store.reserve(digest, "a", 1, ttl_ms=30)
        await until_held(store, digest, 0)
        assert await pin(store, digest, "a") == "pinned"
        assert await held(store, digest) == 1
        assert await store.reserve(digest, "b", 3) == ["exceeded", 2]

    async def test_tell_a_hold_of_another_resource(self, store: HotStore, digest: bytes) -> None:
        await store.reserve(digest, "a", 1)
        assert await store.writer.pin([Hold(digest, "a", "emails")]) == ["other"]
        assert await store.writer.release(digest, "a")  # it was left as it stood

    async def test_are_found_when_their_report_took_too_long(self, store: HotStore, digest: bytes) -> None:
        h = keys.short_hash(digest)
        for hold in ("old", "settled", "young"):
            await store.reserve(digest, hold, 1)
            await pin(store, digest, hold)
        for hold in ("old", "settled"):
            await store.redis.zincrby(keys.pins_of(h), -61_000, f"{h}:{hold}")
        await store.writer.apply_usage([UsageTotal(digest, "domains", 1, 1, 1, ("settled",))])
        assert await store.writer.old_pins(10) == [(h, "old")]
        assert await store.writer.settle(h, ["old"]) == 1
        assert await store.writer.old_pins(10) == []
        assert await held(store, digest) == 1


async def test_any_interleaving_keeps_the_sums(store: HotStore, digest: bytes) -> None:
    """Many panels at once: in the end the stored sum equals the sum of the live holds."""
    await store.writer.apply_licenses([a_license(version=2, limits={"domains": 200})])

    async def panel(number: int) -> int:
        granted = 0
        for step in range(10):
            hold = f"{number}-{step}"
            if (await store.reserve(digest, hold, 1 + step % 3, version=2))[0] != "granted":
                continue
            granted += 1 + step % 3
            if step % 2:
                await pin(store, digest, hold)
            if step % 3 == 0:
                granted -= (1 + step % 3) * (await store.writer.settle(keys.short_hash(digest), [hold]))
        return granted

    sums = await asyncio.gather(*[panel(number) for number in range(20)])
    assert await held(store, digest) == sum(sums) <= 200
