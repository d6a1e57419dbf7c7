"""Store: what may be concluded, in this process, with a real server."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

import pytest

from core.crypto.sealing import Sealer
from core.errors import Busy, Unavailable
from core.health import Dependency
from core.hotstore import keys
from core.hotstore.functions import NotReady
from core.hotstore.snapshot import encode_snapshot
from core.licensing.record import Usage
from core.licensing.state import Status
from core.resp.waiting import Reply
from devstack.valkey import Valkey
from tests.validator.stage import SECRETS, License, Projection, a_record, eventually, finished
from validator.redis.eras import Eras
from validator.redis.fence import MAX_AGE
from validator.redis.link import RedisLink
from validator.store import backlog, staleness
from validator.store import store as store_module
from validator.store.backlog import MOST_WAIT, Backlog
from validator.store.bounded_cache import BoundedCache
from validator.store.near_cache import NEVER, KnownLicense, NearCache
from validator.store.shares import Shares
from validator.store.staleness import STALE_SECONDS
from validator.store.store import Store


@asynccontextmanager
async def a_store(url: str, sealer: Sealer = SECRETS.sealer, *, near_cache: bool = True) -> AsyncIterator[Store]:
    store = Store(url, sealer, near_cache=near_cache, most=Shares.of(1_000_000))
    store.nodes.start()
    try:
        await eventually(lambda: finished(store.condition()), lambda seen: seen is Dependency.OK)
        yield store
    finally:
        store.nodes.close()


@pytest.fixture
async def store(hot_valkey: Valkey, projection: Projection) -> AsyncIterator[Store]:
    async with a_store(hot_valkey.url) as store:
        yield store


def hash_of(issued: License) -> str:
    return keys.short_hash(issued.hash)


async def look(store: Store, issued: License) -> KnownLicense:
    return await finished(store.license(hash_of(issued)))


async def eventually_told(told: Reply[KnownLicense | Unavailable]) -> KnownLicense | Unavailable:
    async def is_done() -> bool:
        return told.done

    await eventually(is_done, bool)
    return told.value


async def remembered(store: Store, issued: License) -> None:
    """Waits until it is in the cache and believed."""

    async def believed() -> bool:
        await look(store, issued)
        return store.peek(hash_of(issued), monotonic()) is not None

    await eventually(believed, bool)


async def pushed(store: Store, issued: License) -> None:
    """Waits until a change of it was pushed."""

    async def current() -> bool:
        entry = store._licenses.get(hash_of(issued))
        return entry is not None and entry.current

    await eventually(current, lambda is_current: not is_current)


async def offline(store: Store) -> None:
    store.nodes.close()

    async def up() -> bool:
        return store.nodes.up

    await eventually(up, lambda is_up: not is_up)


class TestBelief:
    async def test_what_was_read_is_believed(self, store: Store, projection: Projection) -> None:
        issued = await projection.license()
        await remembered(store, issued)
        entry = store.peek(hash_of(issued), monotonic())
        assert entry is not None
        assert entry.facts == (issued.record, Usage())

    async def test_what_was_pushed_is_not(self, store: Store, projection: Projection) -> None:
        issued = await projection.license()
        await remembered(store, issued)
        await projection.use(issued, "databases", 1, 1)
        await pushed(store, issued)
        assert store.peek(hash_of(issued), monotonic()) is None
        assert (await look(store, issued)).usage.used == {"databases": 1}

    async def test_nothing_is_when_the_fence_is_late(self, store: Store, projection: Projection) -> None:
        issued = await projection.license()
        await remembered(store, issued)
        assert store.peek(hash_of(issued), store.nodes.proven + MAX_AGE - 0.001) is not None
        assert store.peek(hash_of(issued), store.nodes.proven + MAX_AGE + 0.001) is None

    async def test_a_stall_is_no_reason_to_read_everything_again(self, store: Store, projection: Projection) -> None:
        issued = await projection.license()
        await remembered(store, issued)
        reads = store.reads
        time.sleep(2 * MAX_AGE)  # noqa: ASYNC251  # the stall
        assert store.peek(hash_of(issued), monotonic()) is None
        assert not (await look(store, issued)).stale
        assert store.reads == reads

    async def test_a_change_during_a_stall_is_heard_before_anything_is_answered(
        self, store: Store, projection: Projection, hot_valkey: Valkey
    ) -> None:
        issued = await projection.license()
        await remembered(store, issued)
        hot_valkey.call("DEL", keys.document(hash_of(issued)))  # without a turn of our loop
        time.sleep(2 * MAX_AGE)  # noqa: ASYNC251  # the stall
        assert (await look(store, issued)).record is None

    async def test_what_was_proven_is_never_newer_than_the_fence_before(self, store: Store) -> None:
        async def proven() -> float:
            assert store.nodes.proven <= monotonic()
            return store.nodes.proven

        before = store.nodes.proven
        after = await eventually(proven, lambda instant: instant > before)
        assert after - before < 5

    async def test_nothing_of_a_bucket_is_when_its_mark_changes(self, store: Store, projection: Projection) -> None:
        issued, other = await projection.license(), await projection.license()
        while hash_of(issued)[:2] == hash_of(other)[:2]:
            other = await projection.license()
        await remembered(store, issued)
        await remembered(store, other)
        await projection.lose(issued.hash[0])

        async def believed() -> bool:
            return store.peek(hash_of(issued), monotonic()) is not None

        await eventually(believed, lambda is_believed: not is_believed)
        assert (await look(store, issued)).stale
        await projection.reload(issued.hash[0])
        await eventually(lambda: look(store, issued), lambda known: not known.stale)
        entry = store._licenses.get(hash_of(other))
        assert entry is not None
        assert entry.era.live

    async def test_who_asks_for_the_same_waits_for_the_same(self, store: Store, projection: Projection) -> None:
        issued = await projection.license()
        reads = store.reads
        looks: list[Reply[KnownLicense | Unavailable]] = [Reply(), Reply()]
        for told in looks:
            store.when_known(hash_of(issued), told.resolve)
        first, second = [await eventually_told(told) for told in looks]
        assert first is second
        assert store.reads == reads + 1

    async def test_what_is_asked_in_one_turn_leaves_as_one_command(
        self, store: Store, projection: Projection, hot_valkey: Valkey
    ) -> None:
        """65 licenses, of which 64 fit into one; one that cannot be read is no reason to doubt the others."""
        issued = [await projection.license() for _ in range(65)]
        await projection.use(issued[1], "databases", 7, 1)
        await projection.redis.delete(keys.document(hash_of(issued[2])))
        hot_valkey.call("LPUSH", keys.document(hash_of(issued[2])), "no document")
        await projection.redis.config_resetstat()
        looks: list[Reply[KnownLicense | Unavailable]] = [Reply() for _ in issued]
        for one, told in zip(issued, looks, strict=True):
            store.when_known(hash_of(one), told.resolve)
        known = [await eventually_told(told) for told in looks]
        calls = (await projection.redis.info("commandstats"))["cmdstat_fcall_ro"]["calls"]
        assert calls == 2
        assert isinstance(known.pop(2), NotReady)
        assert [one.record for one in known if isinstance(one, KnownLicense)] == [
            one.record for place, one in enumerate(issued) if place != 2
        ]
        assert isinstance(known[1], KnownLicense)
        assert known[1].usage == Usage({"databases": 7})

    async def test_a_caller_that_stumbles_over_its_answer_does_not_keep_it_from_others(
        self, store: Store, projection: Projection
    ) -> None:
        issued, other = await projection.license(), await projection.license()
        looks: list[Reply[KnownLicense | Unavailable]] = [Reply(), Reply()]

        def stumble(_known: KnownLicense | Unavailable) -> None:
            raise RuntimeError("on purpose")

        store.when_known(hash_of(issued), stumble)
        for one, told in zip((issued, other), looks, strict=True):
            store.when_known(hash_of(one), told.resolve)
        assert all([isinstance(await eventually_told(told), KnownLicense) for told in looks])

    async def test_without_the_cache_nothing_is_shared_or_remembered(
        self, hot_valkey: Valkey, projection: Projection
    ) -> None:
        async with a_store(hot_valkey.url, near_cache=False) as store:
            issued = await projection.license()
            assert (await look(store, issued)).record == issued.record
            assert store.reads == 1
            assert (await look(store, issued)).record == issued.record
            assert store.reads == 2
            assert store.peek(hash_of(issued), monotonic()) is None


class TestBacklog:
    async def test_what_would_wait_too_long_is_refused_and_what_is_remembered_is_not(
        self, store: Store, projection: Projection
    ) -> None:
        """As after a restart under full load: ten thousand and more ask in one turn, before any answer can come."""
        issued = await projection.license()
        await remembered(store, issued)
        looks: list[Reply[KnownLicense | Unavailable]] = []
        while not store.backlog.is_long:
            looks.append(Reply())
            store._reads.ask(f"{len(looks):032x}", looks[-1].resolve)
        assert store.backlog.wait > MOST_WAIT
        entry = store.peek(hash_of(issued), store.nodes.proven)
        assert entry is not None
        store.nodes.sync.fence.fresh_until = float("inf")  # on a busy machine it may be late by now
        with pytest.raises(Busy):
            await finished(store.license("ff" * 16))
        for told in looks:
            assert isinstance(await eventually_told(told), KnownLicense)
        assert store.backlog.length == 0
        assert (await look(store, License("", bytes(32), a_record()))).record is None

    def test_a_lone_license_does_not_make_a_burst_seem_slow(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now = 100.0
        monkeypatch.setattr(backlog, "monotonic", lambda: now)
        queue = Backlog()
        for _ in range(1000):
            queue.asked()
            now += 0.0005
            queue.answered(1)
        for _ in range(10_000):
            queue.asked()
        assert not queue.is_long
        now += 1.0
        for _ in range(100):
            queue.answered(64)
        assert queue.length == 3600
        assert queue.is_long, "in a second 6,400 were read, so 3,600 take half a second more"


class TestMemory:
    async def test_serves_while_redis_is_away_and_says_how_old_it_is(
        self, store: Store, projection: Projection
    ) -> None:
        issued = await projection.license()
        await remembered(store, issued)
        await offline(store)
        known = await look(store, issued)
        assert known.record == issued.record
        assert known.stale
        assert 0 <= monotonic() - known.known_until < 10

    async def test_ends_after_five_minutes(
        self, store: Store, projection: Projection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert STALE_SECONDS == 300
        issued, key = await projection.license(), await projection.api_key()
        await remembered(store, issued)
        await finished(store.api_keys.find(key.key_id.encode()))
        await offline(store)
        assert (await finished(store.api_keys.find(key.key_id.encode()))).stale
        monkeypatch.setattr(staleness, "STALE_SECONDS", -1)
        with pytest.raises(NotReady):
            await look(store, issued)
        with pytest.raises(NotReady):
            await finished(store.api_keys.find(key.key_id.encode()))

    async def test_never_serves_what_is_known_to_be_replaced(self, store: Store, projection: Projection) -> None:
        """The suspension was pushed, and Redis died before the new document was read."""
        issued = await projection.license()
        await remembered(store, issued)
        await projection.change(issued, status=Status.SUSPENDED)
        await pushed(store, issued)
        await offline(store)
        with pytest.raises(NotReady):
            await look(store, issued)

    async def test_serves_where_only_usage_has_moved_on(self, store: Store, projection: Projection) -> None:
        issued = await projection.license()
        await remembered(store, issued)
        await projection.use(issued, "databases", 1, 1)
        await pushed(store, issued)
        await offline(store)
        assert (await look(store, issued)).stale

    async def test_of_what_was_not_there_is_no_answer(self, store: Store) -> None:
        nobody = License("", bytes(range(100, 132)), a_record())
        assert (await look(store, nobody)).record is None
        await offline(store)
        with pytest.raises(NotReady):
            await look(store, nobody)

    async def test_never_serves_a_key_known_to_be_revoked(self, store: Store, projection: Projection) -> None:
        key = await projection.api_key()
        key_id = key.key_id.encode()
        assert (await finished(store.api_keys.find(key_id))).key.exists
        await projection.api_key(key_id=key.key_id, version=2, active=False)

        async def believed() -> bool:
            return store.api_keys.peek(key_id, monotonic()) is not None

        await eventually(believed, lambda is_believed: not is_believed)
        await offline(store)
        with pytest.raises(NotReady):
            await finished(store.api_keys.find(key_id))


class TestWhatCannotBeRead:
    async def test_is_not_the_same_as_absent(self, store: Store, projection: Projection) -> None:
        issued = await projection.license()
        await projection.redis.set(keys.document(hash_of(issued)), b"\x93\x01\x01\x80")
        with pytest.raises(NotReady):
            await look(store, issued)

    async def test_a_key_sealed_with_another_secret_is_not_unknown(
        self, hot_valkey: Valkey, projection: Projection
    ) -> None:
        key = await projection.api_key()
        async with a_store(hot_valkey.url, Sealer({"k1": bytes(32)})) as store:
            with pytest.raises(NotReady):
                await finished(store.api_keys.find(key.key_id.encode()))

    async def test_what_redis_refuses_is_not_an_answer(self, store: Store) -> None:
        with pytest.raises(NotReady, match="Redis refuses"):
            await finished(store.nodes.sync.ask("NO-SUCH-COMMAND"))

    async def test_keys_that_were_never_published_are_not_an_empty_set(
        self, store: Store, projection: Projection
    ) -> None:
        await projection.redis.delete(keys.JWKS)
        with pytest.raises(NotReady):
            await finished(store.jwks())


class TestReadiness:
    async def test_follows_the_marks(
        self, store: Store, projection: Projection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(store_module, "_READINESS_SECONDS", -1)
        await projection.lose(77)
        assert await finished(store.condition()) is Dependency.LOADING
        await projection.reload(77)
        assert await finished(store.condition()) is Dependency.OK

    async def test_needs_redis(self, store: Store) -> None:
        await offline(store)
        assert await finished(store.condition()) is Dependency.SILENT


class TestBounds:
    def test_the_oldest_goes_when_a_cache_is_full(self) -> None:
        cache: BoundedCache[int, int] = BoundedCache(3)
        for number in (1, 2, 3, 1, 4):
            cache.put(number, number)
        assert set(cache.items) == {3, 1, 4}

    def test_they_go_in_batches_when_there_are_many(self) -> None:
        cache: BoundedCache[int, int] = BoundedCache(640)
        for number in range(641):
            cache.put(number, number)
        assert list(cache.items) == list(range(10, 641))

    async def test_guesses_do_not_push_licenses_out(self) -> None:
        cache = NearCache(Eras(RedisLink("redis://", [], lambda _: None)), 100_000)
        cache._unknown = BoundedCache(10)
        cache.put("00aa", encode_snapshot(a_record(), Usage()), NEVER, known=True)
        for number in range(100):
            cache.put(f"00{number}", encode_snapshot(None, Usage()), NEVER, known=False)
        assert cache.old("00aa") is not None
        assert len(cache._unknown.items) == 10

    async def test_what_appears_is_no_longer_unknown(self) -> None:
        cache = NearCache(Eras(RedisLink("redis://", [], lambda _: None)), 100_000)
        nothing = encode_snapshot(None, Usage())
        cache.put("00aa", nothing, NEVER, known=False)
        cache.put("00aa", encode_snapshot(a_record(), Usage()), NEVER, known=True)
        entry = cache.get("00aa")
        assert entry is not None
        assert entry.facts[0] is not None
        cache.put("00aa", nothing, NEVER, known=False)
        assert cache.old("00aa") is None
