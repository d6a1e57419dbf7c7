"""Link to Redis: connecting, staying connected, reconnecting."""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

import pytest
from redis.asyncio import Redis

from core.clock import unix_time
from core.resp.waiting import Work, together
from devstack.ports import choose
from devstack.valkey import Valkey
from tests.support.servers import running
from tests.validator.stage import HOST, Projection, eventually, finished
from validator.redis.fence import MAX_AGE
from validator.redis.link import RedisLink


@asynccontextmanager
async def a_link(url: str, pushed: Callable[[bytes | None], None] = lambda _: None) -> AsyncIterator[RedisLink]:
    link = RedisLink(url, ["npd:"], pushed)
    link.start()
    try:
        yield link
    finally:
        link.close()


def state(link: RedisLink) -> Callable[[], Awaitable[bool]]:
    async def up() -> bool:
        return link.up

    return up


async def test_waits_for_a_server_that_is_not_there_yet(tmp_path: Path) -> None:
    server = Valkey(data=tmp_path / "valkey", port=choose(HOST), fast=True)
    async with a_link(server.url) as link:
        assert not link.up
        with running(server, tmp_path / "log"):
            await eventually(state(link), bool)
            assert await finished(link.ask("PING")) == b"PONG"


async def test_comes_back_after_every_loss(tmp_path: Path) -> None:
    server = Valkey(data=tmp_path / "valkey", port=choose(HOST), fast=True)
    pushes: list[bytes | None] = []
    runs: set[bytes | None] = set()
    async with a_link(server.url, pushes.append) as link:
        for number in range(3):
            with running(server, tmp_path / "log") as process:
                await eventually(state(link), bool)
                runs.add(link.run_id)
                process.kill()
                await eventually(state(link), lambda up: not up)
                assert pushes.count(None) == number + 1  # whatever was believed is not believed any more
    assert len(runs) == 3


async def test_shows_its_password(tmp_path: Path) -> None:
    server = Valkey(data=tmp_path / "valkey", port=choose(HOST), fast=True)
    with running(server, tmp_path / "log"):
        server.call("CONFIG", "SET", "requirepass", "a/secret")
        async with a_link(f"redis://:wrong@{HOST}:{server.port}/0") as stranger:
            async with a_link(f"redis://:a%2Fsecret@{HOST}:{server.port}/0") as friend:
                await eventually(state(friend), bool)
            assert not stranger.up


async def test_takes_the_database_it_is_told(hot_valkey: Valkey) -> None:
    url = hot_valkey.url.removesuffix("/0") + "/3"
    async with Redis.from_url(url) as redis, a_link(url) as link:
        await redis.set("here", "3")
        await eventually(state(link), bool)
        assert await finished(link.ask("GET", "here")) == b"3"


async def test_takes_a_socket_in_the_file_system(hot_valkey: Valkey, tmp_path: Path) -> None:
    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward = await asyncio.open_connection(HOST, hot_valkey.port)
        await asyncio.gather(pour(reader, onward[1]), pour(onward[0], writer))

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()

    path = tmp_path / "s"
    async with await asyncio.start_unix_server(relay, path):
        async with a_link(f"unix://{path}") as link:
            await eventually(state(link), bool)
            assert await finished(link.ask("PING")) == b"PONG"
        await eventually(state(link), lambda up: not up)


async def test_hears_of_changes_under_its_prefixes_only(tmp_path: Path) -> None:
    server = Valkey(data=tmp_path / "valkey", port=choose(HOST), fast=True)
    pushes: list[bytes | None] = []

    async def heard() -> list[bytes | None]:
        return list(pushes)

    with running(server, tmp_path / "log"):
        async with a_link(server.url, pushes.append) as link:
            await eventually(state(link), bool)
            for key in ("arq:queue", "npd:{00}:1", "npx", "npd:{00}:2"):
                server.call("SET", key, "x")
            assert await eventually(heard, lambda all_: len(all_) == 2) == [b"npd:{00}:1", b"npd:{00}:2"]
            server.call("FLUSHALL")
            assert (await eventually(heard, lambda all_: len(all_) == 3))[-1] is None


async def test_learns_how_far_the_projection_has_come(projection: Projection, hot_valkey: Valkey) -> None:
    async with a_link(hot_valkey.url) as link:
        await eventually(state(link), bool)
        now = unix_time()
        await projection.writer.publish_synced(1, now)

        async def through() -> float | None:
            return link.fence.synced_through

        got = await eventually(through, lambda instant: instant is not None and instant >= int(now * 1000) / 1000)
        assert got is not None


class TestCatchingUp:
    """In a busy loop the fence is late."""

    async def test_what_is_known_is_fresh_again_after_a_stall(self, hot_valkey: Valkey) -> None:
        async with a_link(hot_valkey.url) as link:
            await eventually(state(link), bool)
            time.sleep(2 * MAX_AGE)  # noqa: ASYNC251  # the stall
            stalled_until = monotonic()
            assert link.fence.fresh_until < stalled_until
            await finished(link.fence.catch_up())
            assert link.fence.fresh_until > stalled_until

    async def test_who_is_late_behind_the_others_waits_once_more(self, hot_valkey: Valkey) -> None:
        async def slow() -> bool:
            await link.fence.catch_up()
            fresh = monotonic() <= link.fence.fresh_until
            time.sleep(MAX_AGE * 0.75)  # noqa: ASYNC251  # the work of one who waited
            return fresh

        async with a_link(hot_valkey.url) as link:
            await eventually(state(link), bool)
            time.sleep(2 * MAX_AGE)  # noqa: ASYNC251  # the stall
            assert await finished(together(slow() for _ in range(6))) == [True] * 6

    async def test_no_two_fences_are_under_way(self, hot_valkey: Valkey) -> None:
        most = 0
        async with a_link(hot_valkey.url) as link:
            await eventually(state(link), bool)
            connection = link._connection
            assert connection is not None
            for _ in range(50):
                link.fence._send()
                most = max(most, len(connection._waiting))
                await asyncio.sleep(0.002)
        assert most == 1

    async def test_nobody_waits_for_a_server_that_is_gone(self, tmp_path: Path) -> None:
        server = Valkey(data=tmp_path / "valkey", port=choose(HOST), fast=True)
        with running(server, tmp_path / "log") as process:
            async with a_link(server.url) as link:
                await eventually(state(link), bool)
                process.kill()
                assert not await finished(passed(link))
                await eventually(state(link), lambda up: not up)
                at_once(passed(link))
                at_once(link.fence.catch_up())

    async def test_nor_for_one_that_is_silent(self, tmp_path: Path) -> None:
        server = Valkey(data=tmp_path / "valkey", port=choose(HOST), fast=True)
        with running(server, tmp_path / "log") as process:
            async with a_link(server.url) as link:
                await eventually(state(link), bool)
                process.send_signal(signal.SIGSTOP)
                try:
                    assert not await finished(passed(link)), "who began to wait is told within the time of a command"
                    assert link.silent
                    await eventually(late(link), bool)
                    at_once(link.fence.catch_up())  # the breaker is open
                finally:
                    process.send_signal(signal.SIGCONT)
                await eventually(late(link), lambda is_late: not is_late)


async def passed(link: RedisLink) -> bool:
    return await link.fence._passing()


def late(link: RedisLink) -> Callable[[], Awaitable[bool]]:
    async def is_late() -> bool:
        return monotonic() > link.fence.fresh_until

    return is_late


def at_once(work: Work[object]) -> None:
    """It ends without waiting."""
    with pytest.raises(StopIteration):
        work.send(None)


async def test_a_reconnect_that_is_due_is_not_lost() -> None:
    """The loop was busy beyond the instant, and has not come to the timer yet."""
    async with a_link(f"redis://{HOST}:{choose(HOST)}") as link:

        async def waits() -> bool:
            return link._again is not None and link._again.when() > asyncio.get_running_loop().time() + 0.02

        await eventually(waits, bool)
        assert link._again is not None
        time.sleep(max(0.0, link._again.when() - asyncio.get_running_loop().time()) + 0.05)  # noqa: ASYNC251  blocks the loop
        assert link.tended


async def test_a_fault_that_nobody_foresaw_does_not_end_the_attempts() -> None:
    """The host name is too long, which raises a UnicodeError."""
    async with a_link(f"redis://{'x' * 64}.test:6379") as link:
        seen: set[object] = set()

        async def attempts() -> int:
            seen.add(link._again)  # each attempt fails at once, and has been waited for a while
            assert link.tended
            return len(seen)

        await eventually(attempts, lambda number: number > 2)


async def test_a_link_that_nobody_goes_on_with_is_not_tended() -> None:
    async with a_link(f"redis://{HOST}:{choose(HOST)}") as link:

        async def waits() -> bool:
            return link._again is not None

        await eventually(waits, bool)
        assert link._again is not None
        assert link.tended
        link._again.cancel()

        async def tended() -> bool:
            return link.tended

        await eventually(tended, lambda is_so: not is_so)
    assert link.tended, "closed on purpose"
