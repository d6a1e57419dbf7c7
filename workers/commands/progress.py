"""Progress bar for long commands: redrawn on a terminal, a line now and then in a file."""

import sys
from time import monotonic
from typing import Final, TextIO

_WIDTH: Final = 30
_REDRAW: Final = 0.1
_LINE_EACH: Final = 5.0


def say(line: str, out: TextIO | None = None) -> None:
    """A line of a command's answer, on standard output unless it is named."""
    print(line, file=out, flush=True)


class ProgressBar:
    def __init__(self) -> None:
        self._out = sys.stderr
        self._terminal = self._out.isatty()
        self._shown = monotonic()
        self._drawn = False

    def show(self, what: str, done: int, of: int) -> None:
        if monotonic() - self._shown < (_REDRAW if self._terminal else _LINE_EACH):
            return
        self._shown = monotonic()
        text = f"{what}  {done:,} of {of:,}"
        if self._terminal:
            full = _WIDTH * done // max(1, of)
            self._out.write(f"\r[{'#' * full}{'.' * (_WIDTH - full)}] {text}\x1b[K")
            self._drawn = True
        else:
            self._out.write(f"{text}\n")
        self._out.flush()

    def end(self) -> None:
        """Leaves a clean line behind."""
        if self._drawn:
            self._out.write("\r\x1b[K")
            self._out.flush()
            self._drawn = False
