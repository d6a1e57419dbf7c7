"""The stack under test: started by the supervisor as `make up` starts it, with data and ports of its own."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import psutil

from chaos.plan import Strike, Target
from core.settings import process_environment
from devstack.parts import answers
from devstack.ports import choose
from devstack.stack import ROOT
from devstack.valkey import Valkey
from devstack.waiting import wait_until

_READY_WITHIN: Final = 240.0
_STOPS_WITHIN: Final = 60.0
_OURS: Final = ("NP_", "STRIPE_", "DATABASE_URL", "REDIS_URL", "QUEUE_", "OWNER_", "WORKER_", "NEXTPANEL_", "MAIL_")
_NAMED: Final = ("NP_API_PORT", "NP_VALIDATOR_PORT", "NP_NEXTPANEL_PORT")
_PARTS: Final = {
    Target.API_WORKER: "billing_api",
    Target.API: "billing_api",
    Target.WORKER: "workers",
    Target.VALIDATOR: "validator",
    Target.POSTGRES: "postgres",
    Target.BACKEND: "postgres",
    Target.VALKEY: "valkey",
    Target.VALKEY_WIPED: "valkey",
}


class DidNotStart(Exception):
    """The stack is not there; the text is what it said last."""


class System:
    """A running supervisor and what its run.json says at this moment."""

    def __init__(self, supervisor: psutil.Process, data: Path) -> None:
        self._supervisor = supervisor
        self._data = data
        self.facts: Mapping[str, Any] = self._read()

    def strike(self, strike: Strike) -> bool:
        """Whether there was something to strike; a part that is just starting may have been spared."""
        if strike.target is Target.FLUSH:
            with suppress(OSError):
                return self._valkey().call("FLUSHALL") == "+OK"
            return False
        victims = self._victims(strike)
        if victims and strike.target is Target.VALKEY_WIPED:
            self._take_away_files(strike)
        struck = False
        for victim in victims:
            with suppress(psutil.NoSuchProcess):
                victim.send_signal(signal.SIGKILL)
                struck = True
        if strike.target in {Target.VALKEY, Target.VALKEY_WIPED}:
            psutil.wait_procs(victims, timeout=5)
        return struck

    async def is_ready(self) -> bool:
        urls = (self.facts[part] for part in ("billing_api", "validator", "workers"))
        return all([await asyncio.to_thread(answers, f"{url}/health/ready") for url in urls])

    def _victims(self, strike: Strike) -> list[psutil.Process]:
        """Of the part, what descends from our supervisor now: run.json may be a moment old."""
        alive = {process.pid: process for process in self._supervisor.children(recursive=True)}
        pids = self._read()["pids"][_PARTS[strike.target]]
        family = [alive[pid] for pid in pids if pid in alive]
        if strike.target in {Target.API_WORKER, Target.BACKEND}:
            below = [process for process in family if process.pid != pids[0]]
            return below[int(strike.pick * len(below)) :][:1]
        return family

    def _take_away_files(self, strike: Strike) -> None:
        """The server goes on writing into the folder under its new name until it is killed, and finds none after."""
        folder = self._data / "valkey" / "appendonlydir"
        with suppress(FileNotFoundError):
            folder.rename(folder.with_name(f"lost-{strike.at:.3f}"))

    def _valkey(self) -> Valkey:
        return Valkey(data=self._data / "valkey", port=urlsplit(self.facts["redis_url"]).port or 0)

    def _read(self) -> Mapping[str, Any]:
        facts: Mapping[str, Any] = msgspec.json.decode((self._data / "run.json").read_bytes())
        return facts


@contextmanager
def running(folder: Path) -> Iterator[System]:
    """The stack, from the moment everything is ready; two API processes, so that batches meet."""
    given = process_environment()
    env = {name: value for name, value in given.items() if not name.startswith(_OURS)}
    ports = {name: given.get(name) or str(choose("127.0.0.1")) for name in _NAMED}
    data = folder / "stack"
    own = {"NP_DATA": str(data), "NP_API_PROCESSES": "2", "NP_VALIDATOR_PROCESSES": "1", "NP_LOG_LEVEL": "warning"}
    with (folder / "up.log").open("ab") as log:
        argv = (sys.executable, "-m", "devstack", "up", "--with-parent")
        supervisor = subprocess.Popen(
            argv, cwd=ROOT, env=env | ports | own, stdout=log, stderr=log, start_new_session=True
        )
    try:
        run = data / "run.json"
        wait_until(lambda: run.exists() or supervisor.poll() is not None, _READY_WITHIN)
        if not run.exists():
            raise DidNotStart((folder / "up.log").read_text(errors="replace")[-2000:])
        yield System(psutil.Process(supervisor.pid), data)
    finally:
        os.kill(supervisor.pid, signal.SIGTERM)
        try:
            supervisor.wait(_STOPS_WITHIN)
        except subprocess.TimeoutExpired:
            supervisor.kill()
            supervisor.wait()
