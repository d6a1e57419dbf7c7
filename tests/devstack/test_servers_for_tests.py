"""The servers that tests get: shared by a run's workers, and gone with it, however it ends."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from core.settings import process_environment
from devstack.waiting import wait_until
from tests.support.servers import ROOT

SUITE = """
import os, time, json, pathlib, pytest

@pytest.mark.parametrize("number", range(2))
def test_servers(number, postgres, database_urls, valkey_server, valkey):
    assert postgres.run_sql("SELECT count(*) FROM plans", database=database_urls.owner.rpartition("/")[2]) != ""
    assert valkey_server.call("SET", "mine", str(number)) == "+OK"
    pathlib.Path(os.environ["SUITE_FOLDER"], f"{number}.json").write_text(json.dumps({
        "worker": os.getpid(), "postgres": postgres.port, "database": database_urls.owner, "valkey": valkey,
    }))
    time.sleep(600)
"""


@pytest.fixture
def suite(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A run with two workers, whose tests tell which servers they got and then stay."""
    (tmp_path / "test_suite.py").write_text(SUITE)
    words = ("-m", "pytest", "-n", "2", "-p", "tests.conftest", "-c", "pyproject.toml", "--rootdir", str(ROOT))
    with (tmp_path / "said").open("wb") as said:
        process = subprocess.Popen(
            (sys.executable, *words, str(tmp_path / "test_suite.py")),
            cwd=ROOT,
            env=process_environment() | {"SUITE_FOLDER": str(tmp_path)},
            stdout=said,
            stderr=said,
        )
    yield process
    process.kill()
    process.wait()


def told(folder: Path) -> list[dict[str, str]]:
    return [json.loads(text) for file in sorted(folder.glob("*.json")) if (text := file.read_text())]


def test_workers_share_postgres_and_nothing_outlives_a_killed_run(
    suite: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    assert wait_until(lambda: len(told(tmp_path)) == 2 or suite.poll() is not None, 60)
    assert suite.poll() is None, (tmp_path / "said").read_text()
    first, second = told(tmp_path)
    assert first["postgres"] == second["postgres"]
    for own in ("worker", "database", "valkey"):
        assert first[own] != second[own]
    family = psutil.Process(suite.pid).children(recursive=True)
    assert {"postgres", "valkey-server"} <= {process.name() for process in family}
    suite.kill()
    suite.wait()
    assert wait_until(lambda: not any(process.is_running() for process in family), 30)
