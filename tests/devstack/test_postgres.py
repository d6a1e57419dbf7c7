"""PostgreSQL as the devstack runs it: what survives, what is refused, and with which words."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from devstack.faults import CannotStart
from devstack.ports import choose
from devstack.postgres import Postgres
from devstack.waiting import wait_until
from tests.support.servers import ROOT, running


@pytest.fixture
def server(tmp_path: Path) -> Postgres:
    return Postgres(
        data=tmp_path / "postgres", port=choose("127.0.0.1"), password=r"it's a \ word", max_connections=7, fast=True
    )


def test_it_runs_as_described_and_keeps_its_data(server: Postgres, tmp_path: Path) -> None:
    with running(server, tmp_path / "log"):
        server.run_sql("CREATE TABLE kept AS SELECT 'data' AS what")
        shown = server.run_sql("SHOW timezone; SHOW max_connections; SHOW listen_addresses; SHOW server_encoding")
        assert shown.split() == ["UTC", "7", "127.0.0.1", "UTF8"]
    with running(server, tmp_path / "log"):
        assert server.run_sql("SELECT what FROM kept") == "data"


def test_it_writes_durably_unless_it_is_for_tests(tmp_path: Path) -> None:
    durable = Postgres(data=tmp_path / "postgres", port=choose("127.0.0.1"), password="p", max_connections=7)
    with running(durable, tmp_path / "log"):
        assert durable.run_sql("SHOW fsync; SHOW synchronous_commit").split() == ["on", "on"]


def test_a_wrong_password_is_refused(server: Postgres, tmp_path: Path) -> None:
    with running(server, tmp_path / "log"):
        stranger = Postgres(data=server.data, port=server.port, password="guess", max_connections=7)
        with pytest.raises(CannotStart, match="password authentication failed"):
            stranger.run_sql("SELECT 1")


def test_a_database_is_made_once_and_its_owner_is_no_superuser(server: Postgres, tmp_path: Path) -> None:
    with running(server, tmp_path / "log"):
        for password in ("first", "sec'ond"):
            server.ensure_database("shop", owner="keeper", password=password)
        owner = Postgres(data=server.data, port=server.port, password="sec'ond", max_connections=7)
        facts = server.run_sql("SELECT rolsuper, rolcreaterole, rolbypassrls FROM pg_roles WHERE rolname = 'keeper'")
        assert facts == "f|t|t"
        assert owner.url("shop", "keeper") == f"postgresql://keeper:sec%27ond@127.0.0.1:{server.port}/shop"
        assert server.run_sql("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'shop'") == "keeper"


def test_after_a_kill_it_starts_again_by_itself(server: Postgres, tmp_path: Path) -> None:
    with running(server, tmp_path / "log") as process:
        server.run_sql("CREATE TABLE kept AS SELECT 1; CHECKPOINT")
        family = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait()
    assert (server.data / "postmaster.pid").exists()
    assert wait_until(lambda: not any(member.is_running() for member in family), 10)
    with running(server, tmp_path / "log"):
        assert server.run_sql("SELECT count(*) FROM kept") == "1"


def test_a_stale_pid_that_another_program_got_does_not_keep_it_down(server: Postgres, tmp_path: Path) -> None:
    server.prepare()
    with running(server, tmp_path / "log") as process:
        process.kill()
        process.wait()
    marker = server.data / "postmaster.pid"
    marker.write_text(f"{os.getppid()}\n" + marker.read_text().split("\n", 1)[1])
    with running(server, tmp_path / "log"):
        assert server.run_sql("SELECT 1") == "1"


def test_a_second_server_on_the_same_data_is_refused(server: Postgres, tmp_path: Path) -> None:
    with (
        running(server, tmp_path / "log") as process,
        pytest.raises(CannotStart, match=rf"already runs on .*`kill -INT {process.pid}`"),
    ):
        server.prepare()


def test_an_interrupted_first_start_is_begun_again(server: Postgres, tmp_path: Path) -> None:
    unfinished = tmp_path / "postgres.unfinished"
    unfinished.mkdir()
    (unfinished / "PG_VERSION").write_text("18\n")
    with running(server, tmp_path / "log"):
        assert not unfinished.exists()


def test_data_of_another_version_is_refused(server: Postgres) -> None:
    server.data.mkdir()
    (server.data / "PG_VERSION").write_text("15\n")
    with pytest.raises(CannotStart, match=r"made by PostgreSQL 15, this is 18: dump it with the old version"):
        server.prepare()


def test_a_folder_of_something_else_is_refused(server: Postgres) -> None:
    server.data.mkdir()
    (server.data / "holiday.jpg").touch()
    with pytest.raises(CannotStart, match="is no PostgreSQL data folder: move it away"):
        server.prepare()
    assert (server.data / "holiday.jpg").exists()


def test_it_dies_with_its_parent(server: Postgres, tmp_path: Path) -> None:
    server.prepare()
    script = f"""
import subprocess
import sys
from pathlib import Path
from devstack.postgres import Postgres
launch = Postgres(data=Path({str(server.data)!r}), port={server.port}, password="p", max_connections=7).launch()
print(subprocess.Popen(launch.argv, **launch.options()).pid, flush=True)
input()
"""
    parent = subprocess.Popen(
        (sys.executable, "-c", script),
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with parent:
        assert parent.stdout is not None
        process = psutil.Process(int(parent.stdout.readline()))
        assert wait_until(server.is_ready, 20)
        parent.send_signal(signal.SIGKILL)
    assert wait_until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE, 20)
    assert not (server.data / "postmaster.pid").exists()  # it ended cleanly


def test_it_never_runs_as_root_and_works_in_a_private_folder_all_the_same(server: Postgres, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with running(server, tmp_path / "log") as process:
        runs_as = psutil.Process(process.pid).uids().real
        assert runs_as != 0
        assert runs_as == server.data.stat().st_uid
