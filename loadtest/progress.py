"""Progress of a long task: a bar that is redrawn on a terminal, a line now and then in a file."""

import sys
from time import perf_counter
from types import TracebackType
from typing import Final, Self, TextIO

_WIDTH: Final = 30
_REDRAW: Final = 0.1
_LINE_EACH: Final = 5.0


class Progress:
    def __init__(self, what: str, total: int, out: TextIO | None = None) -> None:
        self._what = what
        self._total = total
        self._done = 0
        self._out = out or sys.stderr
        self._terminal = self._out.isatty()
        self._began = perf_counter()
        self._shown = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        if self._done:
            self._show()
        if self._done and self._terminal:
            self._out.write("\n")

    def add(self, number: int) -> None:
        self.reach(self._done + number, self._total)

    def reach(self, done: int, total: int) -> None:
        self._done, self._total = done, total
        if perf_counter() - self._shown > (_REDRAW if self._terminal else _LINE_EACH):
            self._show()

    def _show(self) -> None:
        self._shown = perf_counter()
        rate = self._done / max(self._shown - self._began, 1e-6)
        part = self._done / self._total if self._total else 1.0
        text = f"{self._what}  {self._done:,} of {self._total:,}  {rate:,.0f}/s"
        if self._terminal:
            full = round(part * _WIDTH)
            self._out.write(f"\r[{'#' * full}{'.' * (_WIDTH - full)}] {text}\x1b[K")
        else:
            self._out.write(f"{text}\n")
        self._out.flush()
