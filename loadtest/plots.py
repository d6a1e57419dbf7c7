"""Line and bar charts as inline SVG. Colors and fonts belong to the page: shapes carry CSS classes only.

A chart is made of two scales, which turn values into pixels and know where their ticks stand, and of marks. Every point
has a `<title>`, which browsers show as a tooltip; so there is no script.
"""

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Final, NamedTuple, Protocol

WIDTH: Final = 560
HEIGHT: Final = 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 18, 22, 36
_GAP: Final = 0.5
_NICE: Final = (1, 2, 2.5, 5, 10)


class Tick(NamedTuple):
    at: float
    """Where between 0 and 1."""
    label: str


class Scale(Protocol):
    def place(self, value: float) -> float:
        """Between 0 and 1 for what lies on the scale."""
        ...

    def ticks(self) -> list[Tick]: ...


class Linear:
    """From 0 to `high`, or to the next tick above it where that is `rounded`."""

    def __init__(self, high: float, *, about: int = 5, rounded: bool = False) -> None:
        high = max(high, 1e-9)
        size = 10.0 ** math.floor(math.log10(high / about))
        self._step = next(nice * size for nice in _NICE if high / (nice * size) <= about)
        self._high = math.ceil(high / self._step - 1e-9) * self._step if rounded else high

    def place(self, value: float) -> float:
        return value / self._high

    def ticks(self) -> list[Tick]:
        values = [self._step * place for place in range(int(self._high / self._step + 1e-9) + 1)]
        return [Tick(self.place(value), f"{value:,.6g}") for value in values]


class Logarithmic:
    """Over whole decades that hold all of `values`; what is 0 lies at the bottom."""

    def __init__(self, values: Iterable[float]) -> None:
        positive = [value for value in values if value > 0] or [1.0]
        self._low = math.floor(math.log10(min(positive)))
        self._high = max(self._low + 1, math.ceil(math.log10(max(positive))))

    def place(self, value: float) -> float:
        return max(0.0, (math.log10(max(value, 1e-12)) - self._low) / (self._high - self._low))

    def ticks(self) -> list[Tick]:
        decades = range(self._low, self._high + 1)
        return [Tick(self.place(10.0**decade), f"{10.0**decade:,.6g}") for decade in decades]


class Percentiles:
    """Each nine takes the same room: 90 %, 99 % and 99.9 % lie at equal distances."""

    def __init__(self, highest: float) -> None:
        self._nines = max(2.0, _nines(highest))

    def place(self, value: float) -> float:
        return min(_nines(value), self._nines) / self._nines

    def ticks(self) -> list[Tick]:
        shown = [50, *(100 - 10.0 ** (2 - nines) for nines in range(1, math.ceil(self._nines) + 1))]
        return [Tick(self.place(percent), f"{percent:.6g} %") for percent in shown if _nines(percent) <= self._nines]


class Series(NamedTuple):
    name: str
    points: Sequence[tuple[float, float]]
    css_class: str


def lines(series: Sequence[Series], x: Scale, y: Scale, *, x_name: str, y_name: str, unit: str) -> str:
    """A line for each series."""
    marks: list[str] = []
    for one in series:
        places = [(_x(x.place(across)), _y(y.place(up)), up) for across, up in one.points]
        path = " ".join(f"{across:.1f},{up:.1f}" for across, up, _ in places)
        marks.append(f'<polyline class="line {one.css_class}" points="{path}"/>')
        marks += [
            f'<circle class="point {one.css_class}" cx="{across:.1f}" cy="{up:.1f}" r="7">'
            f"<title>{escape(one.name)}: {value:,.2f} {escape(unit)}</title></circle>"
            for across, up, value in places
        ]
    return _svg([*_grid(x, y, x_name, y_name), *marks])


Stack = Sequence[tuple[float, str]]
"""Parts of a bar from the bottom upwards: their values and classes."""


def bars(stacks: Sequence[tuple[float, Stack]], x: Scale, y: Scale, *, names: tuple[str, str]) -> str:
    """A bar for each stack, from its x to the next whole one. `names` are those of the axes."""
    x_name, y_name = names
    width = max(0.5, _x(x.place(1)) - _x(x.place(0)) - 2 * _GAP)
    marks: list[str] = []
    for across, parts in stacks:
        height = 0.0
        for value, css_class in parts:
            top, bottom = _y(y.place(height + value)), _y(y.place(height))
            height += value
            if value:
                left = _x(x.place(across)) + _GAP
                marks.append(
                    f'<rect class="bar {css_class}" x="{left:.1f}" y="{top:.1f}" width="{width:.1f}"'
                    f' height="{bottom - top:.1f}"><title>{value:,.0f} {escape(y_name)}</title></rect>'
                )
    return _svg([*_grid(x, y, x_name, y_name), *marks])


def _grid(x: Scale, y: Scale, x_name: str, y_name: str) -> list[str]:
    """Ticks with their lines, and the names of the axes where nothing else is drawn."""
    bottom, left, right = _y(0), _x(0), _x(1)
    marks = [
        f'<line class="grid" x1="{left}" x2="{right}" y1="{_y(tick.at):.1f}" y2="{_y(tick.at):.1f}"/>'
        f'<text class="tick end" x="{left - 8}" y="{_y(tick.at) + 4:.1f}">{escape(tick.label)}</text>'
        for tick in y.ticks()
    ]
    marks += [
        f'<line class="stub" x1="{_x(tick.at):.1f}" x2="{_x(tick.at):.1f}" y1="{bottom}" y2="{bottom + 4}"/>'
        f'<text class="tick middle" x="{_x(tick.at):.1f}" y="{bottom + 17}">{escape(tick.label)}</text>'
        for tick in x.ticks()
    ]
    marks.append(f'<text class="axis end" x="{right}" y="{HEIGHT - 2}">{escape(x_name)}</text>')
    marks.append(f'<text class="axis" x="{left}" y="{_TOP - 8}">{escape(y_name)}</text>')
    return marks


def _svg(marks: Sequence[str]) -> str:
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{"".join(marks)}</svg>'


def _x(place: float) -> float:
    return _LEFT + place * (WIDTH - _LEFT - _RIGHT)


def _y(place: float) -> float:
    return HEIGHT - _BOTTOM - place * (HEIGHT - _TOP - _BOTTOM)


def _nines(percent: float) -> float:
    """1 for 90 %, 2 for 99 %, 3 for 99.9 %."""
    return -math.log10(max(1 - percent / 100, 1e-9))
