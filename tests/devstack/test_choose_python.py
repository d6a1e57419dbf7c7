"""Which Python .venv is made with: stand-ins that say of themselves what they are, in folders of their own."""

import subprocess
from pathlib import Path

import pytest

from core.settings import process_environment
from tests.support.servers import ROOT

_SCRIPT = ROOT / "devstack" / "choose_python.sh"
_OLD = "exit 1"
_SLOW = 'case "$2" in *optimizations*) exit 1;; esac'
_GOOD = "exit 0"


class Machine:
    """Folders as a system has them: the first stands in PATH."""

    def __init__(self, root: Path) -> None:
        self.own, self.system = root / "own", root / "system"
        self.own.mkdir()
        self.system.mkdir()

    def put(self, folder: Path, name: str, kind: str) -> str:
        file = folder / name
        file.write_text(f"#!/bin/sh\n{kind}\n")
        file.chmod(0o755)
        return str(file)

    def chosen(self) -> str:
        env = {"PATH": str(self.own), "PYTHON_FOLDERS": str(self.system)}
        done = subprocess.run(("/bin/sh", _SCRIPT), env=env, capture_output=True, text=True, check=True)
        return done.stdout.strip()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_without_any_nothing_is_printed(machine: Machine) -> None:
    machine.put(machine.own, "python3", _OLD)
    assert machine.chosen() == ""


def test_the_first_in_the_path_is_taken_where_all_are_good(machine: Machine) -> None:
    machine.put(machine.own, "python3.11", _GOOD)
    machine.put(machine.system, "python3.11", _GOOD)
    assert machine.chosen() == "python3.11"


def test_one_with_optimizations_comes_before_the_first_in_the_path(machine: Machine) -> None:
    machine.put(machine.own, "python3.11", _SLOW)
    good = machine.put(machine.system, "python3.11", _GOOD)
    assert machine.chosen() == good


def test_the_version_that_is_tested_comes_before_a_faster_one(machine: Machine) -> None:
    machine.put(machine.own, "python3.11", _SLOW)
    machine.put(machine.system, "python3.12", _GOOD)
    assert machine.chosen() == "python3.11"


def test_a_slow_one_is_better_than_none(machine: Machine) -> None:
    machine.put(machine.own, "python3.11", _OLD)
    slow = machine.put(machine.system, "python3", _SLOW)
    assert machine.chosen() == slow


def test_the_real_one_is_a_python_that_is_supported() -> None:
    done = subprocess.run(("/bin/sh", _SCRIPT), capture_output=True, text=True, check=True, env=process_environment())
    shown = (done.stdout.strip(), "-c", "import sys; print(sys.version_info >= (3, 11))")
    assert subprocess.run(shown, capture_output=True, text=True, check=True).stdout == "True\n"
