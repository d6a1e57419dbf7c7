"""`python -m loadtest.report FILE… --out report.html`: results as one page that needs nothing but a browser.

Without files it takes all that lie under $NP_DATA/results, oldest first.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from core.counted import counted
from loadtest import plots, results
from loadtest.growth import growth
from loadtest.plots import Linear, Logarithmic, Percentiles, Series
from loadtest.results import Number, Result
from loadtest.stack import data_folder

_COLORS: Final = 6
_HEADLINE: Final = (50.0, 90.0, 99.0, 99.9, 100.0)
_MIDDLE: Final = 0.5  # of a second


def render(all_results: Sequence[Result]) -> str:
    """A whole HTML document, well-formed as XML too."""
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(number=_number, latency=_latency)
    runs = [_run(result) for result in all_results]
    compared = curves([(result.title, result) for result in all_results]) if len(runs) > 1 else None
    return templates.get_template("report.html").render(
        runs=runs, compared=compared, growth=growth(all_results), headline=_HEADLINE, colors=_COLORS
    )


def curves(named: Sequence[tuple[str, Result]]) -> str:
    """The percentile curve of each, one color each."""
    series = [
        Series(name, _with_end(result.curve), f"c{place % _COLORS}") for place, (name, result) in enumerate(named)
    ]
    points = [point for one in series for point in one.points]
    x = Percentiles(max((percent for percent, _ in points), default=90.0))
    y = Logarithmic([ms for _, ms in points])
    return plots.lines(series, x, y, x_name="percentile", y_name="ms", unit="ms")


def latencies(result: Result) -> str:
    """Median, p99 and the longest of each second."""
    moments = result.moments
    series = [
        Series("p50", [(moment.second + _MIDDLE, moment.p50) for moment in moments], "c0"),
        Series("p99", [(moment.second + _MIDDLE, moment.p99) for moment in moments], "c1"),
        Series("longest", [(moment.second + _MIDDLE, moment.longest) for moment in moments], "c2"),
    ]
    y = Logarithmic([ms for one in series for _, ms in one.points])
    return plots.lines(series, _seconds(result), y, x_name="seconds", y_name="ms", unit="ms")


def rates(result: Result) -> str:
    """Requests of each second: those that were answered, and the failed ones on top."""
    stacks = [
        (float(moment.second), [(float(moment.requests - moment.faults), "good"), (float(moment.faults), "fault")])
        for moment in result.moments
    ]
    most = max((moment.requests for moment in result.moments), default=1)
    return plots.bars(stacks, _seconds(result), Linear(most, rounded=True), names=("seconds", "requests"))


def _run(result: Result) -> dict[str, Any]:
    """What the template shows of one result."""
    return {
        "result": result,
        "percentiles": dict(result.curve),
        "curve": curves([(result.title, result)]),
        "latencies": latencies(result) if result.moments else None,
        "rates": rates(result) if result.moments else None,
    }


def _with_end(curve: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The longest latency has no percentile of its own: it is drawn one step beyond the last that is known."""
    last = max((percent for percent, _ in curve if percent < 100), default=0.0)
    return [(min(percent, 100 - (100 - last) / 10), ms) for percent, ms in curve]


def _seconds(result: Result) -> Linear:
    return Linear(max(moment.second for moment in result.moments) + 1, about=10)


def _number(value: str | Number) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,.2f}" if isinstance(value, float) and value != int(value) else f"{int(value):,}"


def _latency(ms: float) -> str:
    return f"{ms:,.2f}" if ms < 100 else f"{ms:,.0f}"


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    folder = data_folder() / "results"
    files = chosen.files or sorted(folder.glob("*.json"), key=lambda file: file.stat().st_mtime)
    if not files:
        print(f"report: there are no results in {folder}", file=sys.stderr)
        return 1
    try:
        page = render([results.read(file) for file in files])
    except (OSError, msgspec.MsgspecError) as fault:
        print(f"report: {fault}", file=sys.stderr)
        return 1
    out = chosen.out or folder / "report.html"
    out.write_text(page, encoding="utf-8")
    print(f"{counted(len(files), 'result')}: {out}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtest.report", description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, help="results in JSON; default: all under $NP_DATA/results")
    parser.add_argument("--out", type=Path, help="default: report.html beside the results")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
