"""Result of a run, as every tool here writes it: printed, kept as JSON, and drawn by `loadtest.report`.

Times are milliseconds. `checks` are the promises of the run; a result holds if all of them do.
"""

from pathlib import Path
from typing import Final

import msgspec

PERCENTILES: Final = (10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.95, 99.99, 99.999)
_SHOWN: Final = (50.0, 90.0, 99.0, 99.9, 100.0)

Number = int | float


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """One second of a run, by the instants at which its requests were meant to be sent."""

    second: int
    requests: int
    faults: int
    p50: float
    p99: float
    longest: float


class Check(msgspec.Struct, frozen=True):
    what: str
    limit: Number
    value: Number

    @property
    def holds(self) -> bool:
        return self.value <= self.limit


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of call in a run of many kinds."""

    name: str
    requests: int
    faults: int
    p50: float
    p90: float
    p99: float
    longest: float


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """What a request cost where so many licenses were in play: a point of the plots over their number."""

    series: str
    """Everything else that was the same, in words: points of one series are joined by a line."""
    licenses: int
    requests: int
    micros: dict[str, float]
    """CPU time of a request in µs, of each process that took part, by its name."""
    resident_mb: dict[str, float]
    curve: list[tuple[float, float]]
    """Percent and milliseconds."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    tool: str
    title: str
    began: str
    """RFC 3339."""
    settings: dict[str, str | Number]
    facts: dict[str, str | Number]
    """What else was measured, by names that say the unit."""
    requests: int
    curve: list[tuple[float, float]]
    """Percent and milliseconds."""
    moments: list[Moment] = []
    rows: list[Row] = []
    points: list[Point] = []
    outcomes: dict[str, int] = {}
    put_off: dict[str, int] = {}
    """503 with Retry-After: the server could not tell, and said when to come again."""
    faults: dict[str, int] = {}
    checks: list[Check] = []

    @property
    def holds(self) -> bool:
        return all(check.holds for check in self.checks)

    def percentile(self, percent: float) -> float | None:
        """None where there were too few requests to know."""
        return dict(self.curve).get(percent)


_DECODER: Final = msgspec.json.Decoder(Result)


def read(file: Path) -> Result:
    return _DECODER.decode(file.read_bytes())


def write(result: Result, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(msgspec.json.format(msgspec.json.encode(result)))


def place_of(result: Result, data: Path) -> Path:
    """A file under the stack's folder."""
    return data / "results" / f"{result.tool}-{result.began.replace(':', '')}.json"


def conclude(result: Result, out: Path | None, data: Path) -> int:
    """Shows and keeps it, in `out` or under the stack's folder; the exit code is 0 where all promises hold."""
    out = out or place_of(result, data)
    write(result, out)
    print(f"{table(result)}\n\n  written to {out}")
    return 0 if result.holds else 1


def table(result: Result) -> str:
    """For a person at a terminal."""
    lines = [f"{result.title}   {result.began}", ""]
    lines += [f"  {name:<34}{_number(value)}" for name, value in result.facts.items()]
    lines += [f"  {f'latency p{percent:g}':<34}{ms:.2f} ms" for percent, ms in result.curve if percent in _SHOWN]
    lines += _rows(result.rows)
    lines += _points(result.points)
    for what, counts in (("answers", result.outcomes), ("put off", result.put_off), ("faults", result.faults)):
        if counts:
            lines += ["", f"  {what}"]
            lines += [f"    {name:<48}{count:>12,}" for name, count in _most_first(counts)]
    lines += ["", *(f"  {_check(check)}" for check in result.checks)]
    return "\n".join(lines)


def _rows(rows: list[Row]) -> list[str]:
    if not rows:
        return []
    head = f"  {'call':<42}{'requests':>10}{'faults':>8}{'p50':>9}{'p90':>9}{'p99':>9}{'max':>9}"
    return [
        "",
        head,
        *(
            f"  {row.name:<42}{row.requests:>10,}{row.faults:>8,}"
            f"{row.p50:>9.1f}{row.p90:>9.1f}{row.p99:>9.1f}{row.longest:>9.1f}"
            for row in rows
        ),
    ]


def _points(points: list[Point]) -> list[str]:
    if not points:
        return []
    parts = list(dict.fromkeys(part for point in points for part in point.micros))
    shown = [percent for percent in _SHOWN if percent < 100]
    head = f"  {'series':<44}{'licenses':>10}" + "".join(f"{f'{part} µs':>14}" for part in parts)
    head += "".join(f"{f'p{percent:g}':>8}" for percent in shown) + "".join(f"{f'{part} MB':>14}" for part in parts)
    return ["", head, *(_point(point, parts, shown) for point in points)]


def _point(point: Point, parts: list[str], shown: list[float]) -> str:
    known = dict(point.curve)
    line = f"  {point.series:<44}{point.licenses:>10,}"
    line += "".join(f"{point.micros.get(part, 0):>14.1f}" for part in parts)
    line += "".join(f"{known[percent]:>8.2f}" if percent in known else f"{'–':>8}" for percent in shown)
    return line + "".join(f"{point.resident_mb.get(part, 0):>14,.0f}" for part in parts)


def _check(check: Check) -> str:
    verdict = "holds " if check.holds else "BROKEN"
    return f"{verdict}  {check.what}: {_number(check.value)}, at most {_number(check.limit)}"


def _most_first(counts: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda pair: -pair[1])


def _number(value: str | Number) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) else value
