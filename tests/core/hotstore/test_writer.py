"""Writer of the projection, on a real server: the newest state wins, in whatever order writes come."""

import os
from itertools import permutations

import pytest
from redis.asyncio import Redis

from core.hotstore import functions, keys
from core.hotstore.client import HotStoreClient
from core.hotstore.functions import FunctionsMissing
from core.hotstore.reader import Reader
from core.hotstore.snapshot import decode_key_reading
from core.hotstore.writer import UsageTotal, Writer
from core.licensing.record import ApiKeyRecord, LeaseRecord
from core.licensing.state import Status
from tests.core.hotstore.conftest import HotStore, a_license


class TestFunctions:
    async def test_missing_ones_are_told_from_every_other_error(self, valkey: str) -> None:
        async with Redis.from_url(valkey) as redis:
            writer, reader = Writer(HotStoreClient(redis)), Reader(HotStoreClient(redis))
            for attempt in (
                writer.publish_synced(1, 1.0),
                writer.apply_licenses([a_license()]),
                reader.read(bytes(16)),
            ):
                with pytest.raises(FunctionsMissing) as caught:
                    await attempt
                assert (caught.value.status, caught.value.code) == (503, "not_ready")

    async def test_are_loaded_as_often_as_one_likes(self, store: HotStore) -> None:
        await store.writer.load_functions()
        await store.writer.load_functions()
        assert await store.writer.apply_licenses([a_license()]) == 1

    def test_have_a_name_that_changes_with_their_text(self) -> None:
        assert functions.VERSION in functions.SOURCE
        assert "@" not in functions.SOURCE.replace("@places@", "")
        assert f"np_{functions.VERSION}_read" == functions.READ

    async def test_survive_a_flush(self, store: HotStore) -> None:
        await store.redis.flushall()
        assert await store.writer.apply_licenses([a_license()]) == 1


class TestDocuments:
    async def test_of_every_order_of_arrival_the_newest_stands(self, store: HotStore) -> None:
        ages = [(1, 1), (1, 2), (1, 10), (2, 1)]
        for number, order in enumerate(permutations(ages)):
            for epoch, version in order:
                await store.writer.apply_licenses([a_license(number, epoch=epoch, version=version)])
            record = (await store.reader.read(number.to_bytes(16, "big"))).record
            assert record is not None
            assert (record.epoch, record.version) == (2, 1)

    async def test_one_of_the_same_age_changes_nothing(self, store: HotStore) -> None:
        assert await store.writer.apply_licenses([a_license()]) == 1
        assert await store.writer.apply_licenses([a_license(status=Status.SUSPENDED)]) == 0

    async def test_are_written_in_bulk(self, store: HotStore) -> None:
        many = [(os.urandom(32), a_license()[1]) for _ in range(2500)]
        assert await store.writer.apply_licenses(many) == 2500
        for digest, record in many[::500]:
            assert (await store.reader.read(digest)).record == record

    async def test_nothing_to_write_is_nothing_written(self, store: HotStore) -> None:
        assert await store.writer.apply_licenses([]) == 0
        assert await store.writer.apply_usage([]) == 0

    async def test_have_no_end(self, store: HotStore) -> None:
        digest, record = a_license()
        await store.writer.apply_licenses([(digest, record)])
        assert await store.redis.ttl(keys.document(keys.short_hash(digest))) == -1


class TestApiKeys:
    def record(self, version: int, *, active: bool = True) -> ApiKeyRecord:
        return ApiKeyRecord(
            epoch=1,
            version=version,
            key_id="npk_1",
            active=active,
            license_hash=None,
            permissions=frozenset({"validate"}),
            current_secret=b"sealed",
        )

    async def test_a_revocation_is_not_undone_by_what_came_before_it(self, store: HotStore) -> None:
        assert await store.writer.apply_api_keys([self.record(2, active=False)]) == 1
        assert await store.writer.apply_api_keys([self.record(1)]) == 0
        packed = await store.redis.get(keys.api_key("npk_1"))
        record = decode_key_reading((packed, None)).record
        assert record is not None
        assert not record.active


class TestLeases:
    async def test_a_later_one_for_the_same_version_stands(self, store: HotStore) -> None:
        digest = bytes(32)

        def lease(version: int, signed_at: float) -> tuple[bytes, LeaseRecord]:
            return digest, LeaseRecord(epoch=1, version=version, not_after=9.0, token="t", signed_at=signed_at)

        assert await store.writer.apply_leases([lease(1, 5.0)]) == 1
        assert await store.writer.apply_leases([lease(1, 4.0)]) == 0
        assert await store.writer.apply_leases([lease(1, 6.0)]) == 1
        assert await store.writer.apply_leases([lease(2, 1.0)]) == 1
        assert await store.writer.apply_leases([lease(1, 7.0)]) == 0


class TestUsage:
    async def test_totals_are_absolute_and_the_newest_stands(self, store: HotStore) -> None:
        digest = bytes(16)
        for version, used, written in [(2, 20, 1), (1, 10, 0), (2, 99, 0), (3, 30, 1)]:
            assert await store.writer.apply_usage([UsageTotal(digest, "domains", used, 1, version)]) == written
        assert await store.writer.apply_usage([UsageTotal(digest, "domains", 5, 2, 1)]) == 1
        assert (await store.reader.read(digest)).usage.used == {"domains": 5}

    async def test_resources_do_not_mix(self, store: HotStore) -> None:
        digest = bytes(16)
        totals = [UsageTotal(digest, "domains", 1, 1, 5), UsageTotal(digest, "emails", -2, 1, 1)]
        assert await store.writer.apply_usage(totals) == 2
        assert (await store.reader.read(digest)).usage.used == {"domains": 1, "emails": -2}

    async def test_are_written_in_bulk(self, store: HotStore) -> None:
        digests = [os.urandom(32) for _ in range(1000)]
        totals = [UsageTotal(digest, "domains", n, 1, 1, ("a", "b")[: n % 3]) for n, digest in enumerate(digests)]
        assert await store.writer.apply_usage(totals) == 1000
        for number in (0, 499, 998, 999):
            assert (await store.reader.read(digests[number])).usage.used == {"domains": number}


class TestMarks:
    async def test_a_new_server_misses_every_bucket(self, store: HotStore) -> None:
        assert await store.writer.client.missing_buckets() == list(range(keys.BUCKETS))
        assert not await store.writer.client.is_ready()

    async def test_a_rebuild_ends_with_its_mark(self, store: HotStore) -> None:
        tokens = await store.writer.begin_rebuild([7], holds_lost=False)
        assert (await store.reader.read(bytes([7] * 16))).loaded is None
        assert await store.writer.mark_loaded(7, tokens[7])
        assert (await store.reader.read(bytes([7] * 16))).loaded == tokens[7].encode()
        assert 7 not in await store.writer.client.missing_buckets()

    async def test_a_flush_in_its_midst_cannot_end_as_loaded(self, store: HotStore) -> None:
        tokens = await store.writer.begin_rebuild([7], holds_lost=False)
        await store.redis.flushall()
        assert not await store.writer.mark_loaded(7, tokens[7])

    async def test_of_two_rebuilds_the_later_one_counts(self, store: HotStore) -> None:
        first = await store.writer.begin_rebuild([7], holds_lost=False)
        second = await store.writer.begin_rebuild([7], holds_lost=False)
        assert not await store.writer.mark_loaded(7, first[7])
        assert await store.writer.mark_loaded(7, second[7])
        assert not await store.writer.mark_loaded(7, second[7])

    async def test_a_rebuild_does_not_interrupt_what_is_loaded(self, store: HotStore) -> None:
        await store.load()
        await store.writer.begin_rebuild([7], holds_lost=False)
        assert await store.writer.client.is_ready()

    async def test_a_mark_of_an_earlier_run_counts_as_missing(self, store: HotStore) -> None:
        await store.load()
        await store.redis.hset(keys.mark(7), "loaded", "0123456789abcdef:token")  # type: ignore[misc]  # its stub
        assert await store.writer.client.missing_buckets() == [7]
        assert not await store.writer.mark_loaded(7, "0123456789abcdef:token")

    async def test_synced_goes_forward_only(self, store: HotStore) -> None:
        for epoch, instant in [(1, 5.5), (1, 4.0), (2, 1.0), (1, 9.0)]:
            await store.writer.publish_synced(epoch, instant)
        assert await store.redis.hmget(keys.SYNC, ["epoch", "synced_through"]) == [b"2", b"1000"]  # type: ignore[misc]  # its stub
