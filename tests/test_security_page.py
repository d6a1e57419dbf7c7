"""The page about security names tests as its evidence: each of them exists."""

import ast
import re
from pathlib import Path
from typing import Final

import pytest

from tests.support.servers import ROOT

PAGE: Final = ROOT / "docs" / "security.md"
_ROW: Final = re.compile(r"^\| (?P<points>\d[\d., –]*) \| (?P<asked>[^|]+) \| (?P<tests>[^|]+) \|$", re.MULTILINE)
_WHO: Final = re.compile(r"^\| \*\*(?P<who>[^|]+)\*\* \| [^|]+ \| [^|]+ \| (?P<tests>[^|]+) \|$", re.MULTILINE)
_PINNED: Final = re.compile(
    r"^(?P<package>[A-Za-z0-9._-]+)==[^\\\n]+\\\n(?P<hashes>(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)",
    re.MULTILINE,
)
_TEST: Final = re.compile(r"`(?P<file>tests/[\w/]+\.py)::(?P<name>\w+)`")
_LINK: Final = re.compile(r"\]\((?P<to>[^)#\s]+)(?:#[^)]*)?\)")
_CODE: Final = re.compile(r"`((?:billing_api|core|db|validator|workers|tests|docs)/[\w/.]*)`")


def functions(file: Path) -> set[str]:
    """Of the module itself, as pytest finds them."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def missing(page: str) -> list[str]:
    """Tests that the page names and nobody has written."""
    named = [(match["file"], match["name"]) for match in _TEST.finditer(page)]
    return [
        f"{file}::{name}" for file, name in named if not (ROOT / file).exists() or name not in functions(ROOT / file)
    ]


def test_every_point_is_shown_by_tests_that_exist() -> None:
    page = PAGE.read_text(encoding="utf-8")
    rows = list(_ROW.finditer(page))
    assert len(rows) > 30
    for row in rows:
        assert _TEST.search(row["tests"]), f"{row['points']} names no test"
    assert missing(page) == []


def test_whoever_wants_something_is_stopped_by_what_tests_show() -> None:
    page = PAGE.read_text(encoding="utf-8")
    rows = list(_WHO.finditer(page))
    assert len(rows) == page.count("\n| **") > 15
    for row in rows:
        assert _TEST.search(row["tests"]), f"{row['who']} names no test"


@pytest.mark.parametrize("lock", ["requirements.lock", "deploy/requirements.lock"])
def test_every_package_is_pinned_by_its_hash(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    pinned = {match["package"] for match in _PINNED.finditer(text)}
    named = set(re.findall(r"^([A-Za-z0-9._-]+)\b", text, re.MULTILINE))
    assert len(pinned) > 20
    assert named == pinned


@pytest.mark.parametrize(
    "name",
    ["tests/nowhere.py::test_it", "tests/test_security_page.py::test_nothing", "tests/test_security_page.py::PAGE"],
)
def test_a_test_that_does_not_exist_is_found(name: str) -> None:
    assert missing(f"| 1.1.1 | a point | `{name}` |") == [name]


def test_what_the_page_points_to_is_there() -> None:
    page = PAGE.read_text(encoding="utf-8")
    pointed = {PAGE.parent / match["to"] for match in _LINK.finditer(page)} | {
        ROOT / path for path in _CODE.findall(page)
    }
    assert pointed
    assert sorted(str(path.relative_to(ROOT)) for path in pointed if not path.exists()) == []
