"""Log stream: it neither raises nor waits, with a full disk or without a reader."""

import io
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from core.line_stream import LineStream
from tests.support.servers import ROOT

LINE: Final = "a line\n"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    for descriptor in (reading, writing):
        try:
            os.close(descriptor)
        except OSError:
            continue


def over(descriptor: int) -> LineStream:
    return LineStream(os.fdopen(descriptor, "w", closefd=False))


def test_a_line_is_written_at_once(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("w") as file:
        stream = LineStream(file)
        stream.write(LINE)
        assert path.read_text() == LINE
        stream.close()
        stream.write("\ud800\n")
    assert path.read_text() == LINE + "\\ud800\n"
    assert stream.lost == 0


def test_on_a_full_disk_lines_are_lost_and_counted() -> None:
    with Path("/dev/full").open("w") as full:
        stream = LineStream(full)
        for _ in range(3):
            stream.write(LINE)
            stream.flush()
        assert stream.lost == 3


def test_a_reader_that_went_away_does_no_harm(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    os.close(reading)
    stream = over(writing)
    stream.write(LINE)
    assert stream.lost == 1


def test_a_reader_that_sleeps_is_not_waited_for_and_hears_again_what_comes_later(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    stream = over(writing)
    began = time.monotonic()
    for _ in range(3000):
        stream.write("x" * 99 + "\n")
    assert time.monotonic() - began < 5
    assert stream.lost > 1000
    heard = os.read(reading, 1_000_000)
    assert set(heard.split(b"\n")) == {b"x" * 99, b""}
    stream.write("x" * 100_000 + "\n")  # which has no room as a whole, and is torn
    os.read(reading, 1_000_000)
    lost = stream.lost
    stream.write(LINE)
    assert os.read(reading, 100) == b"\n" + LINE.encode()
    assert stream.lost == lost


def test_a_stream_without_a_descriptor_is_written_to_as_it_is() -> None:
    target = io.StringIO()
    stream = LineStream(target)
    stream.write(LINE)
    assert target.getvalue() == LINE
    target.close()
    stream.write(LINE)
    assert stream.lost == 1


@pytest.mark.parametrize("where", ["2>/dev/full 1>&2", "2>&- 1>&-", "2>&1 | true"])
def test_a_process_that_cannot_log_goes_on_and_ends_well(where: str, tmp_path: Path) -> None:
    script = f"""
import logging, select, sys, warnings
from pathlib import Path
from core.telemetry import configure_logging, lines_lost, logger
configure_logging("tests")
if {"| true" in where}:
    poll = select.poll()
    poll.register(sys.stderr, 0)
    poll.poll()  # until the reader of the pipe has gone
socket = open({str(tmp_path / "other")!r}, "w")  # takes the lowest free descriptor
try:
    raise ValueError
except ValueError:
    logger().exception("part.failed")
logging.getLogger("asyncio").error("never retrieved")
warnings.warn("a warning")
print("a word")
print("a word", file=sys.stderr)
Path({str(tmp_path / "lost")!r}).write_text(str(lines_lost()))
"""
    command = f'"{sys.executable}" -c "$SCRIPT" {where}; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(("bash", "-c", command), cwd=ROOT, env={"SCRIPT": script}, check=False, timeout=60)
    assert done.returncode == 0
    assert (tmp_path / "other").read_text() == ""
    assert int((tmp_path / "lost").read_text()) == (0 if "&-" in where else 7)  # print() writes its newline by itself


def test_an_event_of_which_no_line_can_be_made_is_named() -> None:
    script = """
import logging
from core.telemetry import configure_logging, lines_lost, logger
class Unspeakable:
    def __repr__(self):
        raise RuntimeError("secret")
configure_logging("tests")
logger().warning("part.away", error=Unspeakable())
logging.getLogger("arq").error("%s", Unspeakable())
assert lines_lost() == 2
"""
    done = subprocess.run((sys.executable, "-c", script), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert '"of":"part.away","error":"RuntimeError"' in done.stderr
    assert "secret" not in done.stderr


def test_standard_descriptors_that_were_closed_are_no_other_files(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    script = f"""
import os, subprocess, sys
from pathlib import Path
from core.telemetry import configure_logging
configure_logging("tests")
there = [os.stat(n).st_rdev for n in (0, 1, 2)]
child = "import os, sys; sys.exit([os.stat(n).st_rdev for n in (0, 1, 2)] != %r)" % there
socket = open(os.devnull)
differs = subprocess.call((sys.executable, "-c", child))
told = (set(there) == {{os.stat(os.devnull).st_rdev}}, socket.fileno() > 2, differs)
Path({str(seen)!r}).write_text(repr(told))
"""
    command = f'"{sys.executable}" -c "$SCRIPT" 0<&- 1>&- 2>&-'
    subprocess.run(("bash", "-c", command), cwd=ROOT, env={"SCRIPT": script}, check=False, timeout=60)
    assert seen.read_text() == repr((True, True, 0))
