"""Real servers for tests: PostgreSQL and Valkey as the devstack starts them, for the time of a block.

Their data is in the project's `.data/tests`, in the first slot that no other run uses. A slot is emptied when a run
takes it, so a killed run leaves only one folder behind. The servers end with their parent process.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final
from uuid import uuid4

from core.settings import process_environment
from devstack.faults import CannotStart
from devstack.occupancy import occupied
from devstack.parts import Server
from devstack.ports import choose
from devstack.postgres import Postgres
from devstack.waiting import wait_until

ROOT: Final = Path(__file__).resolve().parents[2]
OWNER: Final = "np_owner"
PASSWORD: Final = "of-the-tests-alone"
_READY_WITHIN: Final = 30.0
_STOPS_WITHIN: Final = 15.0


@contextmanager
def running(server: Server, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start a server, and stop it at the end of the block."""
    server.prepare()
    launch = server.launch()
    with log.open("ab") as out:
        process = subprocess.Popen(launch.argv, stdout=out, stderr=out, **launch.options())
    try:
        wait_until(lambda: server.is_ready() or process.poll() is not None, _READY_WITHIN)
        assert process.poll() is None, log.read_text(errors="replace")[-2000:]
        assert server.is_ready(), log.read_text(errors="replace")[-2000:]
        yield process
    finally:
        process.send_signal(launch.stop_signal)
        try:
            process.wait(_STOPS_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def slot() -> Iterator[Path]:
    """An empty folder for this run's servers."""
    for number in count():
        folder = ROOT / ".data" / "tests" / str(number)
        try:
            with occupied(folder, tell=lambda _: None):
                for old in folder.iterdir():
                    if old.is_dir():
                        shutil.rmtree(old)
                yield folder
                return
        except CannotStart:
            continue


@contextmanager
def postgres_server() -> Iterator[Postgres]:
    """A PostgreSQL for one run of pytest."""
    with slot() as folder:
        server = Postgres(
            data=folder / "postgres",
            port=choose("127.0.0.1"),
            password=PASSWORD,
            max_connections=200,
            fast=True,
        )
        with running(server, folder / "postgres.log"):
            yield server


@dataclass(frozen=True)
class DatabaseUrls:
    """One database, as its owner, the API and the workers reach it."""

    owner: str
    api: str
    worker: str

    @classmethod
    def of(cls, server: Postgres, name: str) -> "DatabaseUrls":
        return cls(*(server.url(name, user, PASSWORD) for user in (OWNER, "np_api", "np_worker")))


def migrate(urls: DatabaseUrls) -> None:
    """Bring a database to the newest schema with the command that production uses."""
    env = process_environment() | {
        "OWNER_DATABASE_URL": urls.owner,
        "DATABASE_URL": urls.api,
        "WORKER_DATABASE_URL": urls.worker,
    }
    done = subprocess.run(
        (sys.executable, "-m", "db", "migrate"), cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]


@contextmanager
def database(server: Postgres, template: str | None = None) -> Iterator[DatabaseUrls]:
    """A separate database: empty, or a copy of another one."""
    name = f"test_{uuid4().hex}"
    if template is None:
        server.ensure_database(name, owner=OWNER, password=PASSWORD)
    else:
        server.run_sql(f"CREATE DATABASE {name} TEMPLATE {template} OWNER {OWNER}")
    try:
        yield DatabaseUrls.of(server, name)
    finally:
        server.run_sql(f"DROP DATABASE {name} WITH (FORCE)")
