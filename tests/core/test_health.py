"""Health: readiness is latched, and does not depend on shared servers."""

import asyncio

import msgspec
import pytest

from core.health import Dependencies, Dependency, Lack, Lookout, Readiness


def test_a_process_is_ready_once_it_has_reached_what_it_needs_and_stays_so() -> None:
    readiness = Readiness()
    assert readiness.lack is Lack.NOT_YET
    assert msgspec.to_builtins(readiness.report(["redis"])) == {
        "status": "unavailable",
        "reason": "not_yet",
        "lacking": ["redis"],
    }
    readiness.reach()
    assert readiness.lack is None
    assert msgspec.to_builtins(readiness.report(["redis"])) == {"status": "ok"}


def test_a_dead_part_is_named() -> None:
    dead: list[str] = []
    readiness = Readiness(lambda: dead)
    readiness.reach()
    assert readiness.lack is None
    dead.append("relay")
    report = readiness.report()
    assert (report.status, report.reason, report.lacking) == ("unavailable", Lack.DEAD_PART, ["relay"])


def test_a_process_that_drains_is_not_ready_whatever_else() -> None:
    readiness = Readiness(lambda: ["relay"])
    readiness.reach()
    readiness.drain()
    assert readiness.draining
    assert readiness.report().reason is Lack.DRAINING


def test_dependencies_name_what_does_not_serve() -> None:
    fine = Dependencies.of({"postgres": Dependency.OK, "redis": Dependency.OK})
    assert msgspec.to_builtins(fine) == {
        "status": "ok",
        "lacking": [],
        "dependencies": {"postgres": "ok", "redis": "ok"},
    }
    ill = Dependencies.of({"postgres": Dependency.OK, "redis": Dependency.READ_ONLY})
    assert msgspec.to_builtins(ill) == {
        "status": "degraded",
        "lacking": ["redis"],
        "dependencies": {"postgres": "ok", "redis": "read_only"},
    }


class Probe:
    """Answers with `state`, or raises; `gate` holds it, and `stubborn` does so through a cancellation too."""

    def __init__(self, state: Dependency | Exception = Dependency.OK, *, stubborn: bool = False) -> None:
        self.state = state
        self.stubborn = stubborn
        self.gate = asyncio.Event()
        self.gate.set()
        self.looks = 0

    async def look(self) -> Dependency:
        self.looks += 1
        while not self.gate.is_set():
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                if not self.stubborn:
                    raise
        if isinstance(self.state, Exception):
            raise self.state
        return self.state


async def test_a_lookout_tells_what_each_probe_says_and_silence_of_one_that_raises() -> None:
    lookout = Lookout({"postgres": Probe(Dependency.READ_ONLY).look, "redis": Probe(OSError("away")).look})
    assert await lookout.states() == {"postgres": Dependency.READ_ONLY, "redis": Dependency.SILENT}


async def test_all_who_ask_at_once_share_a_look_and_what_was_seen_is_kept_for_a_moment() -> None:
    probe = Probe()
    lookout = Lookout({"redis": probe.look}, kept=60)
    await asyncio.gather(*(lookout.states() for _ in range(10)))
    await lookout.states()
    assert probe.looks == 1


@pytest.mark.parametrize("stubborn", [False, True])
async def test_no_look_goes_on_after_the_end(stubborn: bool) -> None:
    silent = Probe(stubborn=stubborn)
    silent.gate.clear()
    lookout = Lookout({"redis": silent.look}, within=0.05)
    asking = asyncio.create_task(lookout.states())
    while not silent.looks:  # noqa: ASYNC110  a turn of the loop
        await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await lookout.close()
    looks = [task for task in asyncio.all_tasks() if "Probe.look" in repr(task)]
    assert len(looks) == stubborn, "one that heeds nothing stays"
    silent.gate.set()
    await asyncio.gather(asking, *looks, return_exceptions=True)


@pytest.mark.parametrize("stubborn", [False, True])
async def test_nobody_waits_longer_for_a_silent_server_than_a_look_may_take(stubborn: bool) -> None:
    silent = Probe(stubborn=stubborn)
    silent.gate.clear()
    lookout = Lookout({"redis": silent.look, "postgres": Probe().look}, within=0.05, kept=0)
    for _ in range(3):
        async with asyncio.timeout(5):
            assert await lookout.states() == {"redis": Dependency.SILENT, "postgres": Dependency.OK}
    assert silent.looks == (1 if stubborn else 3), "one that still waits is not joined by others"
    silent.gate.set()
    async with asyncio.timeout(5):
        while (await lookout.states())["redis"] is not Dependency.OK:  # noqa: ASYNC110  the next look finds it
            await asyncio.sleep(0)
