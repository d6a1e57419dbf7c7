"""Report: the figures of a run as a table.

Other work on the machine changes single figures, for all contenders alike. So each round measures every contender once,
one after another, and ratios are taken within a round. The table shows the median of the rounds and their range.
"""

import platform
import sys
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Final, NamedTuple

import msgspec

REFERENCE: Final = "validator"
_PYTHON: Final = f"Python {platform.python_version()} of {sys.base_prefix}"[:43]
"""Two builds of one release may differ by a third in speed."""


class Measured(msgspec.Struct, frozen=True):
    micros: float
    """CPU time of the server for one request."""
    per_second: float
    p99_ms: float


class Line(NamedTuple):
    name: str
    micros: Sequence[float]
    per_second: float
    p99_ms: float
    ratios: Sequence[float]
    """Cost as a multiple of the reference's, round by round."""


def lines(rounds: Sequence[Mapping[str, Measured]]) -> list[Line]:
    """Cheapest first. `rounds`: in each, the figures of every contender by its name."""
    made: list[Line] = []
    for name in rounds[0]:
        own = [figures[name] for figures in rounds]
        made.append(
            Line(
                name,
                [figure.micros for figure in own],
                median(figure.per_second for figure in own),
                median(figure.p99_ms for figure in own),
                [figures[name].micros / figures[REFERENCE].micros for figures in rounds],
            )
        )
    return sorted(made, key=lambda line: median(line.micros))


def table(rounds: Sequence[Mapping[str, Measured]]) -> str:
    head = f"{_PYTHON:44}{'CPU µs a request':>26}{'requests/s':>12}{'p99 ms':>8}{'times the validator':>28}"
    rows = [head]
    for line in lines(rounds):
        micros = f"{median(line.micros):.1f}  ({min(line.micros):.1f}–{max(line.micros):.1f})"
        ratio = f"{median(line.ratios):.2f}  ({min(line.ratios):.2f}–{max(line.ratios):.2f})"
        rows.append(f"{line.name:44}{micros:>26}{line.per_second:>12,.0f}{line.p99_ms:>8.1f}{ratio:>28}")
    return "\n".join(rows)
