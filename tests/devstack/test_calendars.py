"""The marker `calendar` finds what depends on the day."""

from pathlib import Path

import pytest

from tests.support.calendars import _EVERY, _where_arithmetic_is, may_be_in
from tests.support.servers import ROOT


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("def test_a():\n    timedelta(days=3)\n\ndef test_b():\n    timedelta(seconds=3)\n", {"test_a"}),
        ("@pytest.mark.parametrize('x', [timedelta(weeks=1)])\nasync def test_a():\n    pass\n", {"test_a"}),
        ("def test_a():\n    now.replace(year=2027)\n", {"test_a"}),
        ("def test_a():\n    shop.subscription(trial_period_days=7)\n", set()),
        ("WEEK = timedelta(weeks=1)\n\ndef test_a():\n    pass\n", {_EVERY}),
        ("def later():\n    return timedelta(days=1)\n\ndef test_a():\n    later()\n", {_EVERY}),
    ],
)
def test_what_is_found(tmp_path: Path, text: str, found: set[str]) -> None:
    file = tmp_path / "test_module.py"
    file.write_text(text)
    assert _where_arithmetic_is(file) == found


def test_a_test_with_days_in_it_is_marked(request: pytest.FixtureRequest) -> None:
    """The word `partitions` in its text is enough."""
    assert request.node.get_closest_marker("calendar") is not None


def test_another_is_not(request: pytest.FixtureRequest) -> None:
    assert request.node.get_closest_marker("calendar") is None


def test_a_file_that_a_run_of_these_alone_leaves_out_has_none(request: pytest.FixtureRequest) -> None:
    marked = {item.path for item in request.session.items if item.get_closest_marker("calendar")}
    assert Path(__file__) in marked
    assert [file for file in sorted(marked) if not may_be_in(file)] == []
    assert not may_be_in(ROOT / "tests" / "test_quick_tests.py")
