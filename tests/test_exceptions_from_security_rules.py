"""ruff's security rules (flake8-bandit, S…) are on; each exception says beside itself why it is none to worry about."""

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.servers import ROOT

_CODE: Final = ("bench", "billing_api", "chaos", "clients", "core", "db", "devstack", "loadtest", "tests", "validator")
_FOLDERS: Final = (*_CODE, "workers")
_EXCEPTION: Final = re.compile(r"#\s*noqa:\s*(?P<rules>[A-Z]+\d+(?:[,\s]+[A-Z]+\d+)*)(?P<reason>.*)$")
_SECURITY: Final = re.compile(r"\bS\d{3}\b")
_IGNORED: Final = re.compile(r'"S(?:\d{3})?"')
_REASON: Final = re.compile(r"[a-z]{2,}")


def exceptions(source: str) -> Iterator[tuple[int, str]]:
    """Line and reason of each exception from a rule about security; a text that looks like one is none."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        found = _EXCEPTION.search(token.string) if token.type == tokenize.COMMENT else None
        if found and _SECURITY.search(found["rules"]):
            yield token.start[0], found["reason"]


def unexplained(source: str) -> list[int]:
    return [line for line, reason in exceptions(source) if not _REASON.search(reason)]


def sources() -> Iterator[Path]:
    for folder in _FOLDERS:
        yield from (file for file in (ROOT / folder).rglob("*.py") if ".venv" not in file.parts)


def test_each_exception_in_the_code_has_its_reason() -> None:
    texts = {file: file.read_text(encoding="utf-8") for file in sources()}
    assert sum(len(list(exceptions(text))) for text in texts.values()) > 20
    bare = [f"{file.relative_to(ROOT)}:{line}" for file, text in texts.items() for line in unexplained(text)]
    assert bare == []


def test_each_exception_of_a_folder_has_its_reason() -> None:
    settings = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lint = settings[settings.index("[tool.ruff.lint]") : settings.index("[tool.ruff.lint.mccabe]")]
    lines = [line for line in lint.splitlines() if _IGNORED.search(line)]
    assert len(lines) >= 5
    assert [line for line in lines if not _REASON.search(line.partition("#")[2])] == []


@pytest.mark.parametrize(
    ("source", "bare"),
    [
        ("x = 1  # noqa: S105", [1]),
        ("x = 1  # noqa: S105  names a place", []),
        ("x = 1  # noqa: PLR2004, S105 #", [1]),
        ("x = 1  # noqa: PLR2004", []),
        ('x = "# noqa: S105"', []),
    ],
)
def test_an_exception_without_one_is_found(source: str, bare: list[int]) -> None:
    assert unexplained(source) == bare
