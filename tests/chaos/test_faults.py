"""Faults: a disk is full, and the reader of a log has gone."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import psutil
import pytest

from chaos import disk, logs
from devstack.waiting import wait_until

needs_a_namespace: Final = pytest.mark.skipif(not disk.allowed(), reason="this user may not mount a tmpfs")
# Writes one line to standard error for each that it reads, and says what came of it.
PART: Final = """
import errno, os, sys
for line in sys.stdin:
    try:
        os.write(2, b"a line of the log\\n")
        print("written", flush=True)
    except OSError as fault:
        print(errno.errorcode[fault.errno], flush=True)
"""


@needs_a_namespace
def test_a_disk_of_its_own_is_full_for_a_while_and_gone_afterwards(tmp_path: Path) -> None:
    with subprocess.Popen(disk.within(tmp_path, ("sleep", "60"), megabytes=8)) as process:
        seen = disk.seen_from_outside(process.pid, tmp_path)
        assert wait_until(lambda: seen.exists() and _size(seen) == 8 << 20, 10)
        for _ in range(2):
            disk.fill(seen)
            with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
                (seen / "more").write_bytes(b"x")
            disk.make_room(seen)
            (seen / "more").write_bytes(bytes(1 << 20))
            (seen / "more").unlink()
        process.kill()
    assert list(tmp_path.iterdir()) == []


def _size(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_blocks * found.f_frsize


class Part:
    """What a supervisor starts again with its log, whatever lies at that path."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self.processes: list[subprocess.Popen[str]] = []
        log.touch()

    def start(self) -> bool:
        with self._log.open("ab") as log:
            words = (sys.executable, "-c", PART)
            self.processes.append(
                subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
            )
        return True

    def descendants(self) -> list[psutil.Process]:
        return [psutil.Process(process.pid) for process in self.processes]

    def logs(self) -> str:
        """What comes of a line, in the process that was started last."""
        process = self.processes[-1]
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        return process.stdout.readline().strip()


@pytest.fixture
def part(tmp_path: Path) -> Iterator[Part]:
    part = Part(tmp_path / "part.log")
    yield part
    for process in part.processes:
        process.communicate()


@pytest.mark.parametrize(("strike", "told"), [(logs.close_reader, "EPIPE"), (logs.fill_log, "ENOSPC")])
def test_a_part_cannot_write_to_its_standard_error_until_it_is_started_again(
    part: Part, tmp_path: Path, strike: Callable[..., bool], told: str
) -> None:
    assert strike(tmp_path / "part.log", part.start, part.descendants)
    assert part.logs() == part.logs() == told
    part.start()
    assert part.logs() == "written"
    assert (tmp_path / "part.log").read_text() == "a line of the log\n"
    assert [file.name for file in tmp_path.iterdir()] == ["part.log"]


def test_a_part_that_is_down_keeps_its_log(part: Part, tmp_path: Path) -> None:
    assert not logs.close_reader(tmp_path / "part.log", lambda: False, part.descendants)
    part.start()
    assert part.logs() == "written"
