"""The marker `calendar`: tests that depend on the date, so that they also run on other days.

A test that adds days to today, replaces a month or needs a partition may fail on some days: the 31st, 29 February, the
hour of a time change. `.ci/run` runs the marked tests at such instants. Tests whose source does such arithmetic are
marked here, so that no new one is forgotten; others mark themselves. If shared code of a module does it, all its tests
are marked.
"""

import ast
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final

import pytest

_ARITHMETIC: Final = re.compile(
    r"\b(days|weeks|months|years)=|replace\((year|month|day)=|partitions|interval '\d+ (day|mon|y)|\.isocalendar\("
)
_EVERY: Final = "every test of the module"


def may_be_in(file: Path) -> bool:
    """Whether a file of tests can have marked ones: a run of these alone need not import the others."""
    text = file.read_text(encoding="utf-8")
    return "mark.calendar" in text or bool(_ARITHMETIC.search(text))


def mark(items: Iterable[pytest.Item]) -> None:
    for item in items:
        found = _where_arithmetic_is(item.path)
        if _EVERY in found or getattr(item, "originalname", item.name) in found:
            item.add_marker(pytest.mark.calendar)


@cache
def _where_arithmetic_is(file: Path) -> frozenset[str]:
    text = file.read_text(encoding="utf-8")
    if not _ARITHMETIC.search(text):
        return frozenset()
    lines = text.splitlines()
    found: set[str] = set()
    for node in ast.parse(text).body:
        first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))])
        if _ARITHMETIC.search("\n".join(lines[first - 1 : node.end_lineno])):
            name = getattr(node, "name", "")
            found.add(name if name.startswith("test_") else _EVERY)
    return frozenset(found)
