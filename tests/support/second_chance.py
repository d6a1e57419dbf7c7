"""Which tests failed, for `.ci/run` to run these once more.

Thousands of tests with real servers and processes on a shared machine meet a machine that stood still for seconds. The
first run of a change is not lost to one such test: where at most `MOST` failed, `.ci/run` runs them again and prints
their names. What a second run could not find again fails at once: a leak of secrets, which is looked for when all tests
are over, and a process that crashed under the tests. `make test` gives no second chance.
"""

from pathlib import Path
from typing import Final

import pytest

from tests.support.secrecy import LEAK

MOST: Final = 3


def add_option(parser: pytest.Parser) -> None:
    parser.addoption("--failed-to", type=Path, help=f"write the ids of at most {MOST} tests that failed to this file")


def configure(config: pytest.Config) -> None:
    if (file := config.getoption("failed_to")) and not hasattr(config, "workerinput"):
        config.pluginmanager.register(FailedTests(file))


class FailedTests:
    def __init__(self, file: Path) -> None:
        self._file = file
        self._tests: set[str] = set()
        self._other = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._tests.add(report.nodeid)
            self._other |= report.when not in {"setup", "call", "teardown"} or LEAK in report.longreprtext

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._other |= report.failed

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        again = exitstatus == pytest.ExitCode.TESTS_FAILED and not self._other and len(self._tests) <= MOST
        self._file.write_text("".join(f"{test}\n" for test in sorted(self._tests)) if again else "")
