"""What is marked quick starts no process, and what starts one is not marked so."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from core.settings import process_environment
from tests.support.no_process import StartsAProcess, no_process
from tests.support.quick import Place, starts_a_process
from tests.support.servers import ROOT

SUITE: Final = """
import importlib

def test_that_is_open():
    pass

def test_that_hides_what_it_does():
    getattr(importlib.import_module("sub" + "process"), "run")(["true"])
"""


@pytest.mark.parametrize(
    ("file", "name", "starts"),
    [
        ("tests/support/servers.py", "running", True),
        ("tests/conftest.py", "valkey", True),  # by the fixture that it asks for
        ("tests/e2e/conftest.py", "stack", True),
        ("tests/clients/conftest.py", "service", True),  # by a class, in another file
        ("tests/billing_api/conftest.py", "stripe_simulator", True),  # by a function, in another file
        ("tests/test_quick_tests.py", "test_a_run_tells_who_hides_a_start", True),
        ("tests/support/rows.py", "a_row", False),
        ("tests/support/people.py", "Desk", False),
        ("devstack/postgres.py", "Postgres.run_sql", True),
        ("devstack/postgres.py", "Postgres.url", False),
    ],
)
def test_what_starts_a_process_is_read_from_the_source(file: str, name: str, *, starts: bool) -> None:
    assert starts_a_process(Place(ROOT / file, name)) is starts


def test_a_test_of_a_rule_is_quick(request: pytest.FixtureRequest) -> None:
    assert request.node.get_closest_marker("quick") is not None


def test_a_test_with_a_server_is_not(request: pytest.FixtureRequest, valkey: str) -> None:
    assert request.node.get_closest_marker("quick") is None


def test_a_start_is_refused_and_is_no_failed_program() -> None:
    with no_process():
        for start in (lambda: subprocess.run(("true",), check=False), os.fork):
            with pytest.raises(StartsAProcess):
                start()
    assert subprocess.run(("true",), check=False).returncode == 0


def test_a_run_tells_who_hides_a_start(tmp_path: Path) -> None:
    (tmp_path / "test_suite.py").write_text(SUITE)
    words = (
        "-m",
        "pytest",
        "-q",
        "-m",
        "quick",
        "-p",
        "tests.conftest",
        "-c",
        "pyproject.toml",
        "--rootdir",
        str(ROOT),
    )
    done = subprocess.run(
        (sys.executable, *words, "--rootdir", str(ROOT), str(tmp_path / "test_suite.py")),
        cwd=ROOT,
        env=process_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout
    assert "1 failed, 1 passed" in done.stdout
    assert "a test that is marked quick starts a process: subprocess.Popen('true'" in done.stdout
