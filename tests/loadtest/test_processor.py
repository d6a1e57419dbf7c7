"""Processor time as the kernel counts it."""

import os
import subprocess
import sys
from time import process_time

from loadtest import processor

_BURN = "import sys, time\nwhile time.process_time() < 0.3: pass\nprint('done', flush=True)\nsys.stdin.read()"
_PARENT = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {_BURN!r}])"


def test_time_is_counted_with_that_of_children() -> None:
    argv = (sys.executable, "-c", _PARENT)
    before = processor.busy_seconds()
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "done\n"
        assert len(processor.family([parent.pid])) == 2
        used = processor.seconds_of([parent.pid])
        parent.communicate("", timeout=10)
    assert 0.28 <= used < 5
    assert processor.busy_seconds() - before >= 0.28


def test_ones_own_time_agrees_with_what_python_says() -> None:
    seen, known = processor.seconds_of([os.getpid()]), process_time()
    while process_time() - known < 0.3:
        pass
    assert abs((processor.seconds_of([os.getpid()]) - seen) - (process_time() - known)) < 0.1


def test_a_process_that_is_gone_counts_nothing() -> None:
    with subprocess.Popen((sys.executable, "-c", "")) as gone:
        gone.wait()
    assert processor.seconds_of([gone.pid]) == 0
    assert processor.seconds_of([]) == 0
