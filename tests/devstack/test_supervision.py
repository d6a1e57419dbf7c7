"""The supervisor from outside: real processes, real signals, run.json as others read it."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from core.settings import process_environment
from devstack.ports import choose
from devstack.postgres import Postgres
from devstack.valkey import Valkey
from devstack.waiting import wait_until
from tests.support.servers import ROOT

WITHIN = 30.0


class Run:
    """One supervisor with the small stack, and what it has started so far."""

    def __init__(self, data: Path, **variables: str) -> None:
        self.data = data
        self.data.mkdir(exist_ok=True)
        self.file = data / "run.json"
        self.ports = variables
        self.process = subprocess.Popen(
            (sys.executable, "-m", "tests.support.small_stack"),
            cwd=ROOT,
            env=process_environment() | {"NP_DATA": str(data)} | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads(self.file.read_text())
        return facts

    def pids(self) -> dict[str, list[int]]:
        pids: dict[str, list[int]] = self.facts()["pids"]
        return pids

    def ready(self) -> "Run":
        assert wait_until(lambda: self.file.exists() or self.process.poll() is not None, WITHIN)
        assert self.process.poll() is None, self.process.communicate()[0]
        return self

    def begun(self, part: str) -> "Run":
        """The part has been started; it need not be ready. A supervisor that ended says why."""
        log = self.data / "log" / f"{part}.log"
        assert wait_until(lambda: log.exists() or self.process.poll() is not None, WITHIN)
        assert self.process.poll() is None, self.process.communicate()[0]
        return self

    def everyone(self) -> list[psutil.Process]:
        return [psutil.Process(pid) for pids in self.pids().values() for pid in pids]

    def says(self, words: str) -> None:
        """Waits for that."""
        assert self.process.stdout is not None
        assert any(words in line for line in self.process.stdout)

    def ended(self) -> str:
        """What it printed, once it has ended."""
        return self.process.communicate(timeout=WITHIN)[0]

    def diary(self) -> list[str]:
        return (self.data / "diary").read_text().splitlines()


Start = Callable[..., Run]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts runs of one data folder and ports of its own; ends what a failed test has left."""
    ports = {"NP_API_PORT": str(choose("127.0.0.1")), "NP_VALIDATOR_PORT": str(choose("127.0.0.1"))}
    runs: list[Run] = []

    def start_one(**variables: str) -> Run:
        runs.append(Run(tmp_path / "data", **ports | variables))
        return runs[-1]

    yield start_one
    for run in runs:
        if run.process.poll() is None:
            run.process.kill()
        if run.process.stdout:
            run.process.stdout.close()
        run.process.wait()


def all_gone(processes: list[psutil.Process]) -> bool:
    return not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)


def kill_and_see_it_replaced(run: Run, part: str) -> tuple[list[int], list[int]]:
    before = run.pids()[part]
    os.kill(before[0], signal.SIGKILL)
    assert wait_until(lambda: before[0] not in run.pids()[part], WITHIN)
    return before, run.pids()[part]


def test_run_json_is_written_once_every_part_is_ready_and_lists_masters_and_workers(start: Start) -> None:
    run = start(SMALL_ABOVE="slow").begun("above")
    assert not run.file.exists()
    pids = run.ready().pids()
    assert set(pids) == {"below", "above"}
    for master, worker in pids.values():
        assert psutil.Process(worker).ppid() == master
    assert run.file.stat().st_mode & 0o077 == 0


def test_a_connection_that_says_nothing_does_not_keep_a_part_from_being_ready(start: Start) -> None:
    """Somebody's client may dial a port that was another server's a moment ago."""
    run = start(SMALL_STEP="import time; time.sleep(0.5)").begun("below")
    port = int(run.ports["NP_API_PORT"])
    silent: list[socket.socket] = []

    def dialed() -> bool:
        try:
            silent.append(socket.create_connection(("127.0.0.1", port), 1))
        except OSError:
            return False
        return True

    assert wait_until(dialed, WITHIN)
    run.ready()
    silent[0].close()


def test_a_part_that_is_killed_is_started_again_and_its_new_pids_are_told(start: Start) -> None:
    run = start().ready()
    bystander = run.pids()["below"]
    before, after = kill_and_see_it_replaced(run, "above")
    assert len(after) == 2
    assert all_gone([psutil.Process(pid) for pid in before if psutil.pid_exists(pid)])
    assert run.pids()["below"] == bystander
    run.process.terminate()
    assert "above        was killed by SIGKILL; starting it again" in run.ended()


def test_a_disk_that_is_full_for_a_while_ends_nothing(start: Start) -> None:
    """Here something lies where run.json is written before it is renamed."""
    run = start(SMALL_STEP="import time; time.sleep(0.5)").begun("below")
    in_the_way = run.data / f"run.json.{run.process.pid}"
    in_the_way.mkdir()
    run.begun("above")
    run.says("cannot be written down")
    in_the_way.rmdir()
    assert len(run.ready().pids()["above"]) == 2
    run.process.terminate()
    assert "stopped" in run.ended()


def test_a_worker_that_dies_is_no_longer_listed(start: Start) -> None:
    run = start().ready()
    master, worker = run.pids()["below"]
    os.kill(worker, signal.SIGKILL)
    assert wait_until(lambda: run.pids()["below"] == [master], WITHIN)


def test_ctrl_c_stops_everything_the_highest_first_and_takes_run_json_away(start: Start) -> None:
    run = start().ready()
    everyone, facts = run.everyone(), run.facts()
    run.process.send_signal(signal.SIGINT)
    assert "stopped" in run.ended()
    assert run.process.returncode == 0
    assert all_gone(everyone)
    assert not run.file.exists()
    above, below = (facts[name].removeprefix(":") for name in ("validator", "billing_api"))
    assert run.diary()[-2:] == [f"{above} asked", f"{below} asked"]


def test_workers_that_a_service_leaves_behind_are_swept_away(start: Start) -> None:
    run = start(SMALL_BELOW="careless").ready()
    everyone = run.everyone()
    run.process.terminate()
    run.ended()
    assert all_gone(everyone)


def test_a_second_ctrl_c_does_not_wait_for_who_does_not_listen(start: Start) -> None:
    run = start(SMALL_ABOVE="deaf").ready()
    everyone = run.everyone()
    run.process.send_signal(signal.SIGINT)
    assert wait_until(lambda: run.diary()[-1].endswith("asked"), WITHIN)

    def ended_when_asked_again() -> bool:
        run.process.send_signal(signal.SIGINT)  # counts as a second wish only a second after the first
        return run.process.poll() is not None

    assert wait_until(ended_when_asked_again, 10)
    assert "did not stop when asked and was killed" in run.ended()
    assert all_gone(everyone)


def test_a_killed_supervisor_leaves_nothing_behind_and_the_next_start_waits_for_that(start: Start) -> None:
    run = start(SMALL_SERVERS="yes").ready()
    everyone = run.everyone()
    run.process.kill()
    run.process.wait()
    again = start(SMALL_SERVERS="yes")
    assert wait_until(lambda: all_gone(everyone), WITHIN)
    assert wait_until(lambda: again.file.exists() and again.pids()["below"][0] not in {p.pid for p in everyone}, WITHIN)


def test_a_second_supervisor_of_the_same_folder_is_refused_in_one_line(start: Start) -> None:
    first = start().ready()
    second = start()
    said = second.ended()
    assert second.process.returncode == 1
    assert said.count("\n") == 1
    assert f"it already runs in {first.data} (pid {first.process.pid})" in said
    assert first.file.exists()


def test_a_taken_port_is_refused_in_one_line_before_anything_starts(start: Start) -> None:
    first = start().ready()
    port = first.facts()["billing_api"].removeprefix(":")
    second = start(NP_DATA=str(first.data.with_name("other")))
    said = second.ended()
    assert second.process.returncode == 1
    assert said == (
        f"make up: port {port} is in use: stop the program that listens there, or set NP_API_PORT to a free port\n"
    )


def test_a_step_that_fails_stops_everything_and_says_why(start: Start) -> None:
    run = start(SMALL_STEP="raise SystemExit('NP_KEK is not set')")
    said = run.ended()
    assert run.process.returncode == 1
    assert f"step ended with exit code 1: NP_KEK is not set (log: {run.data / 'log' / 'step.log'})" in said
    assert run.diary()[-1].endswith("asked")
    assert not run.file.exists()


def test_a_stop_while_it_is_still_starting_leaves_nothing_behind(start: Start) -> None:
    run = start(SMALL_STEP="import time; time.sleep(600)")
    started: list[psutil.Process] = []

    def the_step_has_started() -> bool:  # its process comes a moment after its log
        started[:] = psutil.Process(run.process.pid).children(recursive=True)
        return len(started) >= 3

    assert wait_until(the_step_has_started, WITHIN)
    run.process.terminate()
    run.ended()
    assert all_gone(started)


def test_killed_servers_come_back_on_the_same_port_with_their_data(start: Start) -> None:
    run = start(SMALL_SERVERS="yes").ready()
    facts = run.facts()
    at, password = urlsplit(facts["owner_database_url"]), json.loads((run.data / "secrets.json").read_text())
    postgres = Postgres(
        data=run.data / "postgres", port=at.port or 0, password=password["postgres_password"], max_connections=20
    )
    valkey = Valkey(data=run.data / "valkey", port=urlsplit(facts["redis_url"]).port or 0)
    postgres.run_sql("CREATE TABLE kept AS SELECT 'data' AS what")
    assert valkey.call("SET", "kept", "1") == "+OK"
    for part in ("postgres", "valkey"):
        kill_and_see_it_replaced(run, part)
    assert postgres.run_sql("SELECT what FROM kept") == "data"
    assert valkey.call("EXISTS", "kept") == ":1"
    assert run.facts()["owner_database_url"] == facts["owner_database_url"]
    assert run.facts()["redis_url"] == facts["redis_url"]


def test_a_terminal_that_is_gone_does_not_keep_it_from_stopping(start: Start) -> None:
    run = start().ready()
    everyone = run.everyone()
    assert run.process.stdout is not None
    run.process.stdout.close()
    run.process.send_signal(signal.SIGHUP)
    run.process.wait(WITHIN)
    assert all_gone(everyone)
    assert not run.file.exists()


def test_a_part_that_cannot_come_back_is_tried_until_it_can(start: Start) -> None:
    run = start(SMALL_SERVERS="yes").ready()
    manifest = next((run.data / "valkey" / "appendonlydir").glob("*.manifest"))
    good = manifest.read_bytes()
    manifest.write_bytes(b"nonsense\n")
    before = run.pids()["valkey"]
    os.kill(before[0], signal.SIGKILL)
    log = run.data / "log" / "valkey.log"
    assert wait_until(lambda: log.read_text().count("FATAL") >= 2, WITHIN)  # it was tried twice in vain
    assert run.pids()["valkey"] == before  # told only when everything is ready
    manifest.write_bytes(good)
    assert wait_until(lambda: run.pids()["valkey"] != before, WITHIN)
    run.process.terminate()
    said = run.ended()
    assert "valkey ended with exit code 1 before it was ready" in said
    assert "holds only copies of what PostgreSQL knows" in said


def test_a_broken_data_folder_is_told_in_one_line_with_what_to_do(start: Start) -> None:
    first = start(SMALL_SERVERS="yes").ready()
    first.process.terminate()
    first.ended()
    (first.data / "postgres" / "global" / "pg_control").write_bytes(b"\0" * 8192)
    second = start(SMALL_SERVERS="yes")
    *_, said = second.ended().splitlines()
    assert second.process.returncode == 1
    assert said.startswith("make up: postgres ended with exit code 1 before it was ready: ")
    assert said.endswith(f"; to begin with an empty database, move {second.data / 'postgres'} away")


def test_it_can_be_stopped_from_another_terminal(start: Start) -> None:
    run = start().ready()
    down = (sys.executable, "-m", "devstack", "down")
    env = process_environment() | {"NP_DATA": str(run.data)}
    first = subprocess.run(down, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert first.stdout == "stopped\n"
    assert "stopped" in run.ended()
    assert run.process.returncode == 0
    second = subprocess.run(down, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert second.stdout == f"nothing runs in {run.data}\n"
