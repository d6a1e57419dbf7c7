"""No process may be started while this block runs: what a quick test promises (tests/support/quick.py).

Python tells its audit hooks of every process before it is started, whichever function is asked for it. A hook cannot be
taken out again, so there is one, and it objects while a block runs.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

_STARTS: Final = frozenset(
    {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "os.system", "pty.spawn"}
)


class StartsAProcess(BaseException):
    """No `Exception`: no test shall take it for a program that could not be started."""


class _Refusal:
    def __init__(self) -> None:
        self.on = False
        self.told = False

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.on and event in _STARTS:
            raise StartsAProcess(f"a test that is marked quick starts a process: {event}{arguments[:2]!r}")


_REFUSAL: Final = _Refusal()


@contextmanager
def no_process() -> Iterator[None]:
    if not _REFUSAL.told:
        sys.addaudithook(_REFUSAL.hear)
        _REFUSAL.told = True
    before, _REFUSAL.on = _REFUSAL.on, True
    try:
        yield
    finally:
        _REFUSAL.on = before
