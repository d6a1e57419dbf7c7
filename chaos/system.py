"""Stack under test: started by the supervisor as `make up` starts it, with data and ports of its own."""

import asyncio
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import msgspec
import psutil

from chaos import disk, logs
from chaos.plan import Strike, Target
from core.settings import process_environment
from devstack.parts import answers
from devstack.ports import choose
from devstack.postgres import Postgres
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
    Target.TERM_API: "billing_api",
    Target.TERM_WORKER: "workers",
    Target.TERM_VALIDATOR: "validator",
    Target.FROZEN_API_WORKER: "billing_api",
    Target.FROZEN_WORKER: "workers",
    Target.FROZEN_VALIDATOR: "validator",
    Target.FROZEN_POSTGRES: "postgres",
    Target.FROZEN_VALKEY: "valkey",
}
_ONE_BELOW: Final = {Target.API_WORKER, Target.BACKEND, Target.FROZEN_API_WORKER}
_ASKED: Final = {Target.TERM_API, Target.TERM_WORKER, Target.TERM_VALIDATOR}
_OUR_OWN: Final = ("billing_api", "validator", "workers")


class DidNotStart(Exception):
    """The stack did not start; the text is the end of its output."""


class System:
    """A running supervisor, and its run.json as it is at this moment."""

    def __init__(self, supervisor: psutil.Process, data: Path, *, own_disk: bool) -> None:
        """`data`: its path as seen from here. `own_disk`: it lies on a disk of its own, which can be filled."""
        self._supervisor = supervisor
        self.data = data
        self.own_disk = own_disk
        self.facts: Mapping[str, Any] = self._read()

    def strike(self, strike: Strike) -> bool:
        """Strikes; False where there was nothing to strike, as with a part that is just starting."""
        if strike.target is Target.FLUSH:
            with suppress(OSError):
                return self.valkey().call("FLUSHALL") == "+OK"
            return False
        if strike.target is Target.STDERR_CLOSED:
            return self._strike_log(strike, logs.close_reader)
        if strike.target is Target.FULL_DISK:  # where it cannot be filled
            return self._strike_log(strike, logs.fill_log)
        victims = self.victims(strike)
        if victims and strike.target is Target.VALKEY_WIPED:
            self._take_away_files(strike)
        struck = False
        for victim in victims:
            with suppress(psutil.NoSuchProcess):
                victim.send_signal(signal.SIGTERM if strike.target in _ASKED else signal.SIGKILL)
                struck = True
        if strike.target in {Target.VALKEY, Target.VALKEY_WIPED}:
            psutil.wait_procs(victims, timeout=5)
        return struck

    async def is_ready(self) -> bool:
        urls = (self.facts[part] for part in ("billing_api", "validator", "workers"))
        return all([await asyncio.to_thread(_serves, url) for url in urls])

    def victims(self, strike: Strike) -> list[psutil.Process]:
        """The processes to strike: all of the part, one of its workers, or its first process for SIGTERM."""
        family = self._family(_PARTS[strike.target])
        if strike.target in _ASKED:
            return family[:1]
        if strike.target in _ONE_BELOW:
            return family[1:][int(strike.pick * len(family[1:])) :][:1]
        return family

    def _family(self, part: str) -> list[psutil.Process]:
        """The part's processes that descend from our supervisor now: run.json may be a moment old."""
        alive = {process.pid: process for process in self._descendants()}
        pids = self._read()["pids"][part]
        return [alive[pid] for pid in pids if pid in alive] if pids and pids[0] in alive else []

    def _descendants(self) -> list[psutil.Process]:
        return self._supervisor.children(recursive=True)

    def _strike_log(self, strike: Strike, how: Callable[[Path, Callable[[], bool], logs.Family], bool]) -> bool:
        part = _OUR_OWN[int(strike.pick * len(_OUR_OWN))]

        def kill() -> bool:
            victims = self._family(part)
            for victim in victims:
                with suppress(psutil.NoSuchProcess):
                    victim.kill()
            return bool(victims)

        return how(self.data / "log" / f"{part}.log", kill, self._descendants)

    def _take_away_files(self, strike: Strike) -> None:
        """Renames the folder: the server goes on writing into it until it is killed, and finds none at its start."""
        folder = self.data / "valkey" / "appendonlydir"
        with suppress(FileNotFoundError):
            folder.rename(folder.with_name(f"lost-{strike.at:.3f}"))

    @property
    def superuser_url(self) -> str:
        """Of PostgreSQL."""
        secrets = msgspec.json.decode((self.data / "secrets.json").read_bytes())
        port = urlsplit(self.facts["owner_database_url"]).port or 0
        server = Postgres(data=self.data, port=port, password=secrets["postgres_password"], max_connections=0)
        return server.url()

    def keep_logs(self, folder: Path) -> None:
        """Copies the logs from a disk that ends with the stack."""
        for name in ("secrets.json", "run.json"):
            shutil.copy2(self.data / name, folder)
        shutil.copytree(self.data / "log", folder / "log", dirs_exist_ok=True)

    def valkey(self) -> Valkey:
        return Valkey(data=self.data / "valkey", port=urlsplit(self.facts["redis_url"]).port or 0)

    def _read(self) -> Mapping[str, Any]:
        facts: Mapping[str, Any] = msgspec.json.decode((self.data / "run.json").read_bytes())
        return facts


def _serves(url: str) -> bool:
    """Whether the process is ready and its servers serve: readiness, once reached, does not tell of servers."""
    if not answers(f"{url}/health/ready"):
        return False
    try:
        told = httpx.get(f"{url}/health/dependencies", timeout=5).json()
    except (httpx.HTTPError, ValueError):
        return False
    return bool(told["status"] == "ok")


@contextmanager
def running(folder: Path) -> Iterator[System]:
    """The stack once everything is ready, with a small disk of its own where that is allowed."""
    data, own_disk = folder / "stack", disk.allowed()
    data.mkdir(mode=0o700)
    supervisor = _started(data, folder / "up.log", own_disk=own_disk)
    seen = disk.seen_from_outside(supervisor.pid, data) if own_disk else data
    try:
        # Ready once run.json is there, or failed once the supervisor has ended.
        wait_until(lambda: (seen / "run.json").exists() or supervisor.poll() is not None, _READY_WITHIN)
        if supervisor.poll() is not None or not (seen / "run.json").exists():
            raise DidNotStart((folder / "up.log").read_text(errors="replace")[-2000:])
        system = System(psutil.Process(supervisor.pid), seen, own_disk=own_disk)
        try:
            yield system
        finally:
            if own_disk and supervisor.poll() is None:
                system.keep_logs(data)
    finally:
        supervisor.send_signal(signal.SIGTERM)
        try:
            supervisor.wait(_STOPS_WITHIN)
        except subprocess.TimeoutExpired:
            supervisor.kill()
            supervisor.wait()


def _started(data: Path, said: Path, *, own_disk: bool) -> subprocess.Popen[bytes]:
    """Starts two API processes, so that their batches compete."""
    given = process_environment()
    env = {name: value for name, value in given.items() if not name.startswith(_OURS)}
    ports = {name: given.get(name) or str(choose("127.0.0.1")) for name in _NAMED}
    own = {"NP_DATA": str(data), "NP_API_PROCESSES": "2", "NP_VALIDATOR_PROCESSES": "1", "NP_LOG_LEVEL": "warning"}
    argv = (sys.executable, "-m", "devstack", "up", "--with-parent")
    with said.open("ab") as log:
        return subprocess.Popen(
            disk.within(data, argv) if own_disk else argv,
            cwd=ROOT,
            env=env | ports | own,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
