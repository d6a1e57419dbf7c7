"""One running process, all that descends from it, and its log."""

import asyncio
import os
import re
import signal
import time
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from devstack.leash import Launch

_SWEEP_PATIENCE: Final = 3.0
_TELLING: Final = re.compile(r"FATAL|PANIC|ERROR|[Ee]rror\b|Bad file format|Can't handle|[Rr]efus|not set|must be")


@dataclass(frozen=True)
class Nursery:
    """Workplace of children: their logs, and the locked file that tells the next start that they are alive."""

    logs: Path
    lock: int | None = None

    async def start(self, name: str, launch: Launch) -> "Child":
        with self.log(name).open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *launch.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=() if self.lock is None else (self.lock,),
                **launch.options(),
            )
        return Child(process, launch.stop_signal)

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def rotate(self) -> None:
        """Begin new logs; the ones of the run before are kept beside them."""
        self.logs.mkdir(parents=True, exist_ok=True)
        for log in self.logs.glob("*.log"):
            log.replace(log.with_name(log.name + ".1"))

    def last_words(self, name: str) -> str:
        """The most telling line of a child's log about its end."""
        with suppress(FileNotFoundError):
            lines = [line.strip() for line in self.log(name).read_text(errors="replace").splitlines() if line.strip()]
            telling = [line for line in lines[-30:] if _TELLING.search(line)]
            return (telling or lines or ["it said nothing"])[-1][:300]
        return "it said nothing"


class Child:
    """A process in a session of its own. Its family: its known descendants, and its process group."""

    def __init__(self, process: asyncio.subprocess.Process, stop_signal: signal.Signals) -> None:
        self._process = process
        self._stop_signal = stop_signal
        self._family: list[psutil.Process] = []

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def ended(self) -> bool:
        return self._process.returncode is not None

    @property
    def how_it_ended(self) -> str:
        code = self._process.returncode
        if code is not None and code < 0:
            return f"was killed by {signal.Signals(-code).name}"
        return f"ended with exit code {code}"

    async def wait(self) -> int:
        return await self._process.wait()

    def remember(self, family: list[psutil.Process]) -> list[int]:
        """Update the family; returns the pids, its own first. Of a dead process, the last known family."""
        if family:
            self._family = family
        return [member.pid for member in family]

    async def stop(self, patience: float, hurry: asyncio.Event) -> bool:
        """Ask it to end, wait, and kill what is left. True if it ended by itself in time."""
        if not self.ended:
            with suppress(ProcessLookupError):
                self._process.send_signal(self._stop_signal)
            waiting = {asyncio.ensure_future(self.wait()), asyncio.ensure_future(hurry.wait())}
            await asyncio.wait(waiting, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            for waiter in waiting:
                waiter.cancel()
        in_time = self.ended
        await self.sweep()
        return in_time

    async def sweep(self) -> None:
        """Kill what is left of the family and see it gone: what outlives its leader would hold ports and memory."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        await self.wait()
        # PostgreSQL's processes lead sessions of their own. They end by themselves when their postmaster is gone, and
        # are killed only if they do not.
        if not await self._family_gone():
            for member in self._family:
                with suppress(psutil.Error):
                    member.kill()
            await self._family_gone()

    async def _family_gone(self) -> bool:
        deadline = time.monotonic() + _SWEEP_PATIENCE
        while any(_lives(member) for member in self._family):
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.02)
        return True


def families(roots: Iterable[int]) -> dict[int, list[psutil.Process]]:
    """Each root and its living descendants, the root first; one look at the process table for all of them."""
    table: dict[int, psutil.Process] = {}
    children: dict[int, list[int]] = defaultdict(list)
    for process in psutil.process_iter(["ppid", "status"]):
        if process.info["status"] != psutil.STATUS_ZOMBIE:
            table[process.pid] = process
            children[process.info["ppid"]].append(process.pid)

    def below(pid: int) -> list[psutil.Process]:
        return [table[pid], *(member for child in children[pid] for member in below(child))]

    return {root: below(root) if root in table else [] for root in roots}


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
