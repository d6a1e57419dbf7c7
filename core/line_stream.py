"""Non-blocking log stream: writing a line never raises and never waits for long.

A log goes to a file whose disk may be full, or to a pipe whose reader may be gone or stopped. Neither may end or stop
the process: a line that cannot be written is dropped and counted (`lost`). Loops that log inside their `except` rely on
this.

Lines go to the descriptor without a buffer. What a buffer could not write would be written later, torn, and would raise
again at each flush and at the interpreter's end.
"""

import io
import os
import select
import stat
import threading
from typing import Final, TextIO

from typing_extensions import override

_AT_ONCE: Final = 4096
"""PIPE_BUF: a pipe that reports room has room for so many bytes (POSIX)."""
_PATIENCE_MS: Final = 50


class LineStream(io.TextIOBase):
    """Over the descriptor of `target`, or over `target` itself where it has none. It is never closed."""

    def __init__(self, target: TextIO) -> None:
        self._target = target
        self._descriptor = _descriptor(target)
        self._at_once = _AT_ONCE if _may_be_full(self._descriptor) else 0
        self._lock = threading.Lock()
        self._torn = False
        self._reader_sleeps = False
        self.lost = 0
        """Lines, or parts of lines, that could not be written."""

    @property
    @override
    def encoding(self) -> str:  # type: ignore[override]  # typeshed has a plain attribute
        return "utf-8"

    @override
    def writable(self) -> bool:
        return True

    @override
    def fileno(self) -> int:
        if self._descriptor is None:
            raise io.UnsupportedOperation("fileno")
        return self._descriptor

    @override
    def isatty(self) -> bool:
        return self._descriptor is not None and os.isatty(self._descriptor)

    @override
    def write(self, text: str) -> int:
        with self._lock:
            try:
                self._put(text)
            except (OSError, ValueError):  # ValueError: the target was closed
                self.lost += 1
        return len(text)

    @override
    def flush(self) -> None:
        """Nothing is kept back."""

    @override
    def close(self) -> None:
        """Does nothing: the process writes until its end."""

    def _put(self, text: str) -> None:
        if self._descriptor is None:
            self._target.write(text)
            self._target.flush()
            return
        left = memoryview(text.encode("utf-8", "backslashreplace"))
        if self._torn:
            left = memoryview(b"\n" + left.tobytes())  # so that this line begins on a line of its own
        begun = False
        try:
            while left:
                self._wait_for_room()
                written = os.write(self._descriptor, left[: self._at_once or None])
                begun = True
                left = left[written:]
        finally:
            self._torn = bool(left) and (begun or self._torn)

    def _wait_for_room(self) -> None:
        """Raises BlockingIOError where a pipe stays full: its reader is stopped. The next line does not wait again."""
        if not self._at_once:
            return
        assert self._descriptor is not None
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        room = bool(poll.poll(0 if self._reader_sleeps else _PATIENCE_MS))
        self._reader_sleeps = not room
        if not room:
            raise BlockingIOError


def _descriptor(target: TextIO) -> int | None:
    try:
        return target.fileno()
    except (OSError, ValueError):
        return None


def _may_be_full(descriptor: int | None) -> bool:
    """Whether it is a pipe, a socket or a terminal: writing waits there while nobody reads."""
    return descriptor is not None and not stat.S_ISREG(os.fstat(descriptor).st_mode)
