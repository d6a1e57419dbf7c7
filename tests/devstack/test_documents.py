"""Documents: every file that a page names exists, and every link leads somewhere."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
PAGES: Final = (
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "clients").rglob("README.md")),
)
_ROOMS: Final = "billing_api|bench|chaos|clients|core|db|deploy|devstack|docs|loadtest|tests|validator|workers"
_PATH: Final = re.compile(rf"`(?P<path>(?:{_ROOMS})/[\w/.*-]*)(?:::\w+)?`")
_LINK: Final = re.compile(r"\]\((?P<to>[^)#\s:]+)(?:#[^)]*)?\)")


def missing(page: Path, text: str) -> Iterator[str]:
    """Paths in backticks, from the root and with * as in a shell, and targets of links, from the page."""
    for match in _PATH.finditer(text):
        if not any(ROOT.glob(match["path"].rstrip("/"))):
            yield match["path"]
    for match in _LINK.finditer(text):
        if not (page.parent / match["to"]).exists():
            yield match["to"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_is_there(page: Path) -> None:
    assert list(missing(page, page.read_text(encoding="utf-8"))) == []


def test_what_is_not_there_is_found() -> None:
    text = "`core/nowhere.py` `core/*.py` `docs/` [a](nowhere.md) [b](../README.md#tests) `tests/nowhere.py::test_it`"
    assert list(missing(ROOT / "docs" / "README.md", text)) == ["core/nowhere.py", "tests/nowhere.py", "nowhere.md"]


def anchors(page: Path) -> set[str]:
    """What GitHub calls the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_link_into_a_page_finds_its_heading(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s:]*)#([^)\s]+)\)", page.read_text(encoding="utf-8"))
    lost = [f"{to}#{heading}" for to, heading in links if heading not in anchors((page.parent / to) if to else page)]
    assert lost == []


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_a_page_begins_with_what_its_reader_wants(page: Path) -> None:
    title, blank, first = page.read_text(encoding="utf-8").splitlines()[:3]
    assert (title[:2], blank, first[:9]) == ("# ", "", "You want ")


def test_every_decision_is_in_the_list() -> None:
    index = (ROOT / "docs/decisions/README.md").read_text(encoding="utf-8")
    listed = {match["to"] for match in _LINK.finditer(index)}
    assert listed == {page.name for page in (ROOT / "docs/decisions").glob("0*.md")}


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    listed = {match["to"] for match in _LINK.finditer(index)}
    assert {page.name for page in (ROOT / "docs").glob("*.*")} - {"README.md"} <= listed
