"""Which runs of the suite are given a second chance."""

from pathlib import Path
from typing import Literal

import pytest

from tests.support.second_chance import MOST, FailedTests
from tests.support.secrecy import LEAK

BROKE = pytest.ExitCode.TESTS_FAILED
Phase = Literal["setup", "call", "teardown"]


def failed(test: str, when: str = "call", text: str = "assert 1 == 2") -> pytest.TestReport:
    return pytest.TestReport(test, (test, None, test), {}, "failed", text, when)  # type: ignore[arg-type]  # xdist's "???"


def to_run_again(tmp_path: Path, *reports: pytest.TestReport, exitstatus: int = BROKE) -> list[str]:
    file = tmp_path / "failed"
    run = FailedTests(file)
    for report in reports:
        run.pytest_runtest_logreport(report)
    run.pytest_sessionfinish(exitstatus)
    return file.read_text().splitlines()


@pytest.mark.parametrize("when", ["setup", "call", "teardown"])
def test_few_that_failed_are_named(tmp_path: Path, when: Phase) -> None:
    names = [f"tests/test_x.py::test_y[a b-{number}]" for number in range(MOST)]
    assert to_run_again(tmp_path, *(failed(name, when) for name in names)) == names


def test_many_are_a_fault(tmp_path: Path) -> None:
    assert to_run_again(tmp_path, *(failed(f"test_{number}") for number in range(MOST + 1))) == []


def test_a_leak_is_a_fault(tmp_path: Path) -> None:
    assert to_run_again(tmp_path, failed("test_last", "teardown", f"{LEAK}\na password in a log")) == []


def test_a_crash_is_a_fault(tmp_path: Path) -> None:
    assert to_run_again(tmp_path, failed("test_x", "???")) == []


@pytest.mark.parametrize("code", [pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR, pytest.ExitCode.OK])
def test_only_a_run_that_ended_counts(tmp_path: Path, code: pytest.ExitCode) -> None:
    assert to_run_again(tmp_path, failed("test_x"), exitstatus=code) == []
