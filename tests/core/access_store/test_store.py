"""Access store: rate limits and the session cache, on a real server."""

import asyncio
import shutil
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
from redis.asyncio import Redis

from core.access_store.store import (
    BELIEVED_SECONDS,
    KEPT_SECONDS,
    AccessStore,
    Limit,
    Look,
    StoreAway,
)
from core.hotstore import keys
from core.ids import new_id
from core.rate_limit import Quota
from devstack.ports import choose
from devstack.valkey import Valkey
from devstack.waiting import wait_until
from tests.support.servers import running

SESSION: Final = new_id()
USER: Final = new_id()


@asynccontextmanager
async def a_store(url: str) -> AsyncIterator[AccessStore]:
    store = AccessStore(url)
    yield store
    await store.close()


@pytest.fixture
async def store(valkey: str) -> AsyncIterator[AccessStore]:
    async with a_store(valkey) as store:
        yield store


@pytest.fixture
async def other(valkey: str) -> AsyncIterator[AccessStore]:
    """Another process's store on the same server."""
    async with a_store(valkey) as store:
        yield store


def limit(requests: int, seconds: int = 60, *, name: str = "user", who: str = "ada") -> Limit:
    return Limit(name, who, Quota(requests, seconds))


async def known(store: AccessStore) -> Look:
    """A session that Postgres has been asked about."""
    assert await store.keep(SESSION, USER, await store.look(SESSION, USER), "customer")
    look = await store.look(SESSION, USER)
    assert look.role == "customer"
    return look


async def test_a_quota_is_given_out_once_to_all_processes(store: AccessStore, other: AccessStore) -> None:
    answers = await asyncio.gather(*((store, other)[n % 2].take([limit(10)]) for n in range(30)))
    assert sum(answer.allowed for (answer,) in answers) == 10


async def test_what_is_left_and_how_long_to_wait_is_told(store: AccessStore) -> None:
    answers = [(await store.take([limit(3, 600)]))[0] for _ in range(4)]
    assert [(answer.allowed, answer.remaining) for answer in answers] == [(True, 2), (True, 1), (True, 0), (False, 0)]
    assert 190 < answers[3].wait <= 200


async def test_what_one_limit_refuses_no_limit_counts(store: AccessStore) -> None:
    wide = limit(100, name="address")
    narrow = limit(1, 600, name="login")
    await store.take([wide, narrow])
    for _ in range(5):
        allowances = await store.take([wide, narrow])
        assert [allowance.allowed for allowance in allowances] == [True, False]
    assert (await store.take([wide]))[0].remaining == 98


async def test_each_caller_and_each_limit_has_its_own(store: AccessStore) -> None:
    for one in (limit(1), limit(1, who="bob"), limit(1, name="login")):
        assert (await store.take([one]))[0].allowed
        assert not (await store.take([one]))[0].allowed


async def test_a_limit_leaves_nothing_behind_when_it_is_paid_for(store: AccessStore, valkey: str) -> None:
    await store.take([limit(6000)])
    redis = Redis.from_url(valkey)
    async with asyncio.timeout(10):
        while await redis.exists(keys.rate("user", "ada")):  # noqa: ASYNC110  the server has to be asked
            await asyncio.sleep(0.005)
    await redis.aclose()


async def test_a_request_is_counted_and_its_session_looked_at_in_one_call(store: AccessStore) -> None:
    first = await store.admit([limit(2)], SESSION, USER)
    assert [(one.allowed, one.remaining) for one in first.allowances] == [(True, 1)]
    assert first.seen is not None
    assert first.seen.role is None
    assert await store.keep(SESSION, USER, first.seen, "customer")
    second = await store.admit([limit(2)], SESSION, USER)
    assert second.seen is not None
    assert second.seen.role == "customer"
    third = await store.admit([limit(2), limit(100, name="address")], SESSION, USER)
    assert ([one.allowed for one in third.allowances], third.seen) == ([False, True], None)
    assert (await store.take([limit(100, name="address")]))[0].remaining == 99


async def test_many_requests_share_one_connection(store: AccessStore, valkey: str) -> None:
    answers = await asyncio.gather(*(store.admit([limit(500)], SESSION, USER) for _ in range(300)))
    assert sum(answer.allowances[0].allowed for answer in answers) == 300
    redis = Redis.from_url(valkey)
    names = [client["name"] for client in await redis.client_list()]
    await redis.aclose()
    assert names.count("nextpanel-billing") == 1


async def test_a_caller_that_gives_up_leaves_its_answer_to_nobody(store: AccessStore) -> None:
    await known(store)
    given_up = [asyncio.create_task(store.look(SESSION, USER)) for _ in range(20)]
    await asyncio.sleep(0)
    for task in given_up:
        task.cancel()
    looks = await asyncio.gather(*(store.look(SESSION, USER) for _ in range(20)))
    assert {look.role for look in looks} == {"customer"}
    (allowance,) = await store.take([limit(10)])
    assert allowance.remaining == 9


async def test_a_server_that_was_demoted_is_left_and_dialed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.access_store.store._LEFT_ALONE", 0.0)
    server = Valkey(data=tmp_path / "server", port=choose("127.0.0.1"))
    with running(server, tmp_path / "log"):
        redis = Redis.from_url(server.url)
        async with a_store(server.url) as store:
            assert (await store.take([limit(10)]))[0].allowed
            await redis.execute_command("REPLICAOF", "127.0.0.1", "1")
            with pytest.raises(StoreAway, match="READONLY"):
                await store.take([limit(10)])
            await redis.execute_command("REPLICAOF", "NO", "ONE")
            before = {client["id"] for client in await redis.client_list()}
            assert (await store.take([limit(10)]))[0].allowed
            assert {client["id"] for client in await redis.client_list()} - before
        await redis.aclose()


async def test_a_server_that_falls_silent_is_given_up_and_used_again_when_it_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.access_store.store._LEFT_ALONE", 0.0)
    server = Valkey(data=tmp_path / "server", port=choose("127.0.0.1"))
    with running(server, tmp_path / "log") as process:
        async with a_store(server.url) as store:
            assert (await store.take([limit(10)]))[0].remaining == 9
            process.send_signal(signal.SIGSTOP)
            try:
                asked = [store.take([limit(10)]) for _ in range(3)]
                told = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 10)
                assert [type(one) for one in told] == [StoreAway] * 3
            finally:
                process.send_signal(signal.SIGCONT)
            # The late answers belong to those who gave up: the next one gets its own.
            async with asyncio.timeout(10):
                while True:
                    try:
                        (allowance,) = await store.take([limit(1000, who="bob")])
                    except StoreAway:
                        continue
                    break
            assert 900 < allowance.remaining < 1000


async def test_an_unknown_session_has_to_be_asked_about(store: AccessStore, other: AccessStore) -> None:
    assert (await store.look(SESSION, USER)).role is None
    assert (await known(store)).role == "customer"
    assert (await other.look(SESSION, USER)).role == "customer"
    assert (await store.look(new_id(), USER)).role is None
    assert (await store.look(SESSION, new_id())).role is None, "a session is one user's"


async def test_a_fence_ends_all_that_is_believed_of_a_user_and_of_nobody_else(
    store: AccessStore, other: AccessStore
) -> None:
    bob, bobs = new_id(), new_id()
    assert await store.keep(bobs, bob, await store.look(bobs, bob), "customer")
    await known(store)
    await other.fence(USER)
    assert (await store.look(SESSION, USER)).role is None
    assert (await store.look(bobs, bob)).role == "customer"


async def test_while_a_fence_stands_nothing_is_kept(store: AccessStore) -> None:
    await store.fence(USER)
    assert not await store.keep(SESSION, USER, await store.look(SESSION, USER), "customer")
    assert (await store.look(SESSION, USER)).role is None


async def test_what_was_asked_before_the_fence_is_not_kept_after_it(store: AccessStore, valkey: str) -> None:
    """A reader asked Postgres, slept through the revocation and all of its fence, and wakes up."""
    seen = await store.look(SESSION, USER)
    await store.fence(USER)
    redis = Redis.from_url(valkey)
    await redis.delete(keys.session_generation(USER))  # the fence has run out
    await redis.aclose()
    assert not await store.keep(SESSION, USER, seen, "customer")
    assert (await store.look(SESSION, USER)).role is None
    assert not await store.keep(SESSION, USER, seen, "customer")


async def test_what_was_kept_before_the_fence_does_not_come_back_after_it(store: AccessStore, valkey: str) -> None:
    await known(store)
    await store.fence(USER)
    redis = Redis.from_url(valkey)
    await redis.delete(keys.session_generation(USER))
    assert await redis.exists(keys.session(SESSION))
    await redis.aclose()
    assert (await store.look(SESSION, USER)).role is None


async def test_postgress_word_is_believed_for_two_seconds_by_the_servers_clock(store: AccessStore, valkey: str) -> None:
    look = await known(store)
    for age, believed in ((BELIEVED_SECONDS * 1_000_000 + 1, False), (-60_000_000, False), (0, True)):
        moved = look._replace(at=(await store.look(SESSION, USER)).at - age)
        assert await store.keep(SESSION, USER, moved, "customer")
        assert ((await store.look(SESSION, USER)).role == "customer") is believed


async def test_an_entry_is_kept_for_half_an_hour_after_its_last_use(store: AccessStore, valkey: str) -> None:
    await known(store)
    redis = Redis.from_url(valkey)
    for key in (keys.session(SESSION), keys.session_generation(USER)):
        await redis.expire(key, 5)
    await store.look(SESSION, USER)
    left = [await redis.ttl(key) for key in (keys.session(SESSION), keys.session_generation(USER))]
    await redis.aclose()
    assert min(left) > KEPT_SECONDS - 60


def is_written(data: Path) -> bool:
    """Whether the session has reached the server's files."""
    key = keys.session(SESSION).encode()
    return any(key in file.read_bytes() for file in data.rglob("*.aof"))


async def test_a_server_that_comes_back_with_older_data_is_not_believed(tmp_path: Path) -> None:
    """The server is killed, and started with a copy from before the fence, like a file that lacks its last second."""
    port = choose("127.0.0.1")
    server = Valkey(data=tmp_path / "now", port=port)
    with running(server, tmp_path / "log") as process:
        async with a_store(server.url) as store:
            await known(store)
            # The file follows in its own time: while it is being synced, writing waits.
            assert await asyncio.to_thread(wait_until, lambda: is_written(tmp_path / "now"), 10)
            shutil.copytree(tmp_path / "now", tmp_path / "earlier")
            await store.fence(USER)
        process.send_signal(signal.SIGKILL)
        process.wait()
    earlier = Valkey(data=tmp_path / "earlier", port=port)
    with running(earlier, tmp_path / "log"):
        async with Redis.from_url(earlier.url) as redis:
            assert await redis.exists(keys.session(SESSION))
            assert await redis.get(keys.session_generation(USER)) != b""
        async with a_store(earlier.url) as store:
            assert (await store.look(SESSION, USER)).role is None


async def test_a_server_without_the_functions_is_given_them(store: AccessStore, valkey_server: Valkey) -> None:
    await known(store)
    assert valkey_server.call("FUNCTION", "FLUSH") == "+OK"
    assert (await store.look(SESSION, USER)).role == "customer"


async def test_a_server_that_is_away_is_left_alone_for_a_moment_but_fenced_all_the_same(valkey: str) -> None:
    async with a_store("redis://127.0.0.1:1") as away:
        with pytest.raises(StoreAway, match="cannot be reached"):
            await away.look(SESSION, USER)
        with pytest.raises(StoreAway, match=r"^$"):
            await away.take([limit(1)])
        with pytest.raises(StoreAway, match="cannot be reached"):
            await away.fence(USER)


async def test_a_server_that_is_silent_is_away() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # the kernel takes connections, nobody reads
        async with a_store(f"redis://127.0.0.1:{silent.getsockname()[1]}") as store:
            with pytest.raises(StoreAway, match="cannot be reached: TimeoutError"):
                await store.fence(USER)
