"""Plots of what a request costs over the number of licenses in play, from the points of all results together.

A design whose cost does not grow with the work draws flat lines. Where one setup was measured twice with the same
number of licenses, the later point counts.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from loadtest import plots
from loadtest.plots import Linear, Logarithmic, Series
from loadtest.results import Point, Result

_COLORS: Final = 6
_TOLD: Final = (50.0, 99.0, 99.9)


class Figure(NamedTuple):
    caption: str
    svg: str


class Growth(NamedTuple):
    series: Sequence[str]
    """In the order of their colors."""
    figures: Sequence[Figure]
    points: Sequence[Point]
    percentiles: Sequence[float] = _TOLD


def growth(all_results: Sequence[Result]) -> Growth | None:
    """None where no result says how many licenses were in play."""
    newest = {(point.series, point.licenses): point for result in all_results for point in result.points}
    if not newest:
        return None
    points = [newest[place] for place in sorted(newest)]
    parts = dict.fromkeys(part for point in points for part in point.micros)
    figures = [_figure(f"CPU of a request: {part}", points, _micros(part), "µs") for part in parts]
    figures += [
        _figure(f"Latency: p{percent:g}", points, _percentile(percent), "ms", logarithmic=True) for percent in _TOLD
    ]
    figures += [_figure(f"Memory: {part}", points, _resident(part), "MB") for part in parts]
    return Growth(_names(points), [figure for figure in figures if figure is not None], points)


Reading = Callable[[Point], float | None]


def _figure(
    caption: str, points: Sequence[Point], reading: Reading, unit: str, *, logarithmic: bool = False
) -> Figure | None:
    """One line for each series; None where nothing of this kind was measured."""
    drawn = [
        Series(
            name,
            [(point.licenses, up) for point in points if point.series == name and (up := reading(point)) is not None],
            f"c{place % _COLORS}",
        )
        for place, name in enumerate(_names(points))
    ]
    heights = [up for one in drawn for _, up in one.points]
    if not heights:
        return None
    y = Logarithmic(heights) if logarithmic else Linear(max(heights), rounded=True)
    x = Logarithmic([across for one in drawn for across, _ in one.points])
    return Figure(caption, plots.lines(drawn, x, y, x_name="licenses", y_name=unit, unit=unit))


def _names(points: Sequence[Point]) -> list[str]:
    return list(dict.fromkeys(point.series for point in points))


def _micros(part: str) -> Reading:
    return lambda point: point.micros.get(part)


def _resident(part: str) -> Reading:
    return lambda point: point.resident_mb.get(part)


def _percentile(percent: float) -> Reading:
    return lambda point: dict(point.curve).get(percent)
