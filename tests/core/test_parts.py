"""Watchdog: the end of a part is noticed, in whatever way it ends, and ends the process."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from typing import Any, Final

import pytest

from core import parts as module
from core.parts import EXIT_CODE, Part, Parts, beat, step, succeeded
from tests.support.servers import ROOT

SILENT_AFTER: Final = 0.4


async def for_ever() -> None:
    await asyncio.Event().wait()


async def fails() -> None:
    raise ValueError("a bug")


async def returns() -> None:
    await asyncio.sleep(0)


async def waits_for_what_is_cancelled() -> None:
    waiting = asyncio.get_running_loop().create_future()
    waiting.cancel()
    await waiting


@pytest.mark.parametrize(
    ("run", "how"), [(fails, "ValueError"), (returns, "returned"), (waits_for_what_is_cancelled, "cancelled")]
)
async def test_a_part_that_ends_by_itself_is_dead(run: Any, how: str) -> None:
    parts = Parts(ends_within=3600)
    condemned = asyncio.Event()
    parts.start("good", for_ever())
    parts.start("bad", run())
    parts.watch(condemned.set)
    await asyncio.wait_for(condemned.wait(), 5)
    assert parts.dead == ["bad"]
    assert parts.report()["bad"] == {"state": "dead", "cause": how, "last_success": None}
    assert parts.report()["good"]["state"] == "ok"
    parts.stopping()


async def test_a_part_that_is_told_to_end_is_no_news() -> None:
    parts = Parts(ends_within=3600)
    condemned = asyncio.Event()
    task = parts.start("part", for_ever())
    parts.watch(condemned.set)
    parts.stopping()
    task.cancel()
    await asyncio.wait({task})
    assert parts.dead == []
    assert not condemned.is_set()


async def test_a_part_without_a_heartbeat_is_dead() -> None:
    parts = Parts(silent_after=SILENT_AFTER, ends_within=3600)
    condemned = asyncio.Event()

    async def beating() -> None:
        while True:
            beat()
            await asyncio.sleep(0.01)

    parts.start("silent", for_ever())
    parts.start("beating", beating())
    parts.add("resting", idle=True)
    parts.watch(condemned.set)
    await asyncio.wait_for(condemned.wait(), 5)
    assert parts.dead == ["silent"]
    assert parts.report()["silent"]["cause"] == "no heartbeat"
    assert parts.report()["resting"]["state"] == "idle"
    parts.stopping()


async def test_a_heartbeat_comes_from_wherever_a_part_is_at_work() -> None:
    parts = Parts(ends_within=3600)

    async def deep() -> None:
        succeeded()

    async def run() -> None:
        await asyncio.create_task(deep())
        async with step():
            await asyncio.sleep(0)
        await for_ever()

    parts.start("part", run())
    parts.start("other", for_ever())
    while parts.report()["part"]["last_success"] is None:  # noqa: ASYNC110  a state of another task
        await asyncio.sleep(0)
    assert parts.report()["other"]["last_success"] is None
    beat()  # outside of any part
    parts.stopping()


async def test_a_step_waits_for_nobody_longer_than_it_says() -> None:
    with pytest.raises(TimeoutError):
        async with step(0.01):
            await for_ever()


def test_a_part_that_rests_is_expected_again_from_its_next_heartbeat_on() -> None:
    part = Part("part")
    part.idle()
    assert part.is_idle
    part.beat()
    assert not part.is_idle


SCRIPT: Final = """
import asyncio, sys, time
from core.parts import Parts, beat

async def hangs():
    await asyncio.Event().wait()

async def blocks():
    await asyncio.sleep(0.1)
    time.sleep(600)

async def fails():
    raise ValueError

async def stubborn():
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass

async def beats():
    while True:
        beat()
        await asyncio.sleep(0.01)

async def main():
    parts = Parts(silent_after=0.5, ends_within=0.5)
    parts.start("part", {part}())
    parts.watch({condemned})
    print("{{}}", flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.mark.parametrize("part", ["hangs", "blocks", "fails", "stubborn"])
@pytest.mark.parametrize("condemned", ["", "lambda: None"])
def test_the_process_ends_whatever_its_loop_does(part: str, condemned: str) -> None:
    script = SCRIPT.format(part=part, condemned=condemned)
    done = subprocess.run((sys.executable, "-c", script), cwd=ROOT, timeout=30, check=False)
    assert done.returncode == EXIT_CODE


def test_a_process_that_was_stopped_as_a_whole_is_not_taken_for_dead() -> None:
    script = SCRIPT.format(part="beats", condemned="")
    with subprocess.Popen((sys.executable, "-c", script), cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline()) == {}
        process.send_signal(signal.SIGSTOP)
        time.sleep(1.5)  # three times as long as a silence may be
        process.send_signal(signal.SIGCONT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        process.kill()


def test_the_minute_is_a_minute() -> None:
    assert (module.SILENT_AFTER, EXIT_CODE) == (60, 70)
    assert module.STEP_WITHIN < module.SILENT_AFTER
