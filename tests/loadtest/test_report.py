"""The report: one page, well-formed, self-contained, with every result in it."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest import report, results
from loadtest.plots import Linear, Logarithmic, Percentiles, Scale
from loadtest.results import Check, Moment, Point, Row
from tests.loadtest.test_results import a_result

_SVG = "{http://www.w3.org/2000/svg}"
_HTML = "{http://www.w3.org/1999/xhtml}"


def parsed(*all_results: results.Result) -> ET.Element:
    return ET.fromstring(report.render(all_results))


def text_of(element: ET.Element) -> str:
    return " ".join("".join(element.itertext()).split())


def test_every_result_has_its_charts_and_numbers() -> None:
    row = Row(name="GET /plans", requests=12, faults=3, p50=1.0, p90=2.0, p99=3.0, longest=4.0)
    page = parsed(a_result(Check("requests that failed", 0, 1)), a_result(title="Another run", rows=[row]))
    assert len(page.findall(f".//{_SVG}svg")) == 7, "three each, and one to compare them"
    told = text_of(page)
    for expected in ("A run", "Another run", "broken", "all hold", "connection lost", "GET /plans", "VALID"):
        assert expected in told
    bars = [rect for rect in page.iter(f"{_SVG}rect") if "fault" in rect.get("class", "")]
    assert len(bars) == 2, "a failed request in each"


def a_point(licenses: int, micros: float, series: str = "warm") -> Point:
    return Point(
        series=series,
        licenses=licenses,
        requests=10_000,
        micros={"server": micros},
        resident_mb={"server": 90.0},
        curve=[(50.0, 1.0), (99.0, 2.0)],
    )


def test_points_of_all_results_are_drawn_over_the_number_of_licenses() -> None:
    before = a_result(points=[a_point(1_000, 11.0), a_point(1_000_000, 87.0)])
    after = a_result(title="Later", points=[a_point(1_000_000, 13.5), a_point(1_000, 20.0, series="cold")])
    (section,) = (one for one in parsed(before, after).iter(f"{_HTML}section") if one.get("id") == "growth")
    captions = [text_of(one) for one in section.iter(f"{_HTML}figcaption")]
    assert captions == ["CPU of a request: server", "Latency: p50", "Latency: p99", "Memory: server"]
    rows = [text_of(row) for row in section.iter(f"{_HTML}tr")][1:]
    assert len(rows) == 3, "the later of two equal points counts"
    assert "13.5" in rows[-1]
    assert not [one for one in parsed(a_result()).iter(f"{_HTML}section") if one.get("id") == "growth"]


def test_the_page_needs_nothing_from_anywhere() -> None:
    page = report.render([a_result()])
    assert not re.search(r"(src|href)=\"(?!#)", page)
    assert "url(" not in page
    assert "@import" not in page
    assert "<script" not in page


def test_names_from_a_server_are_no_markup() -> None:
    evil = '<b onclick="x">&'
    page = parsed(a_result(title=evil, faults={evil: 1}, facts={evil: evil}))
    assert not list(page.iter(f"{_HTML}b")) or all(bold.get("onclick") is None for bold in page.iter(f"{_HTML}b"))
    assert evil in text_of(page)


@pytest.mark.parametrize("seconds", [0, 1, 300])
def test_short_and_long_runs_can_be_drawn(seconds: int) -> None:
    moments = [
        Moment(second=second, requests=5, faults=second % 2, p50=0.0, p99=second * 1.5, longest=second * 2.0)
        for second in range(seconds)
    ]
    page = parsed(a_result(moments=moments, curve=[(50.0, 1.0), (100.0, 2.0)] if seconds else []))
    for line in page.iter(f"{_SVG}polyline"):
        for point in line.get("points", "").split():
            across, up = map(float, point.split(","))
            assert 0 <= across <= 560
            assert 0 <= up <= 240


@given(st.floats(1e-6, 1e12), st.booleans())
def test_linear_ticks_are_few_and_on_the_scale(high: float, rounded: bool) -> None:
    check(Linear(high, rounded=rounded), most=7)


@given(st.lists(st.just(0.0) | st.floats(0.001, 1e9), min_size=1))
def test_decades_hold_every_value(values: list[float]) -> None:
    scale = Logarithmic(values)
    check(scale, most=13)
    assert all(0 <= scale.place(value) <= 1 for value in values)


@given(st.floats(50, 99.9999))
def test_percentiles_are_drawn_by_their_nines(highest: float) -> None:
    scale = Percentiles(highest)
    check(scale, most=8)
    assert scale.place(99) - scale.place(90) == pytest.approx(scale.place(90) - scale.place(0))


def check(scale: Scale, most: int) -> None:
    ticks = scale.ticks()
    assert 1 <= len(ticks) <= most
    assert all(-1e-9 <= tick.at <= 1 + 1e-9 for tick in ticks)
    assert [tick.at for tick in ticks] == sorted({tick.at for tick in ticks})
    assert len({tick.label for tick in ticks}) == len(ticks)


def test_the_command_takes_all_results_and_writes_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NP_DATA", str(tmp_path))
    assert report.main([]) == 1, "there is nothing to report"
    results.write(a_result(), tmp_path / "results" / "one.json")
    assert report.main([]) == 0
    assert "A run" in (tmp_path / "results" / "report.html").read_text(encoding="utf-8")
    (tmp_path / "broken.json").write_text("{}")
    assert report.main([str(tmp_path / "broken.json")]) == 1
