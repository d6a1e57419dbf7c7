"""Which tests are quick: the marker `quick`, for tests that start no process, and so need no server.

A test is quick unless its own text, a fixture that it uses, or a function of this project that either of them names can
start a process. That is read from the source, so that a new test is quick without a word, and a server's fixture needs
no list. In a quick run a process that is started all the same is refused (tests/support/no_process.py).

Reading errs to one side: a function that is only named counts as called, and so does all of a class.
"""

import ast
import inspect
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from tests.support.servers import ROOT

_MODULES: Final = frozenset({"subprocess", "multiprocessing"})
_CALLS: Final = frozenset(
    {"fork", "forkpty", "posix_spawn", "create_subprocess_exec", "create_subprocess_shell", "ProcessPoolExecutor"}
)
_FUNCTIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef)


class Place(NamedTuple):
    """Something named on the top level of a file, or a method there: `Class.method`."""

    file: Path
    name: str


class _Source(NamedTuple):
    uses: dict[str, frozenset[str]]
    """By name: every name that its text has, with dots."""
    imported: dict[str, str]
    """What an imported name stands for, with dots."""


_KNOWN: Final[dict[Place, bool]] = {}


def mark(items: Iterable[pytest.Item]) -> None:
    for item in items:
        if not any(starts_a_process(place) for place in _places(item)):
            item.add_marker(pytest.mark.quick)


def _places(item: pytest.Item) -> Iterator[Place]:
    """The test, and all of its fixtures."""
    yield _place_of(getattr(item, "function", None), item.path)
    facts: Any = getattr(item, "_fixtureinfo", None)
    for fixtures in facts.name2fixturedefs.values() if facts else ():
        for fixture in fixtures:
            yield _place_of(fixture.func, item.path)


def _place_of(function: Any, otherwise: Path) -> Place:
    function = inspect.unwrap(function)
    code = getattr(function, "__code__", None)
    return Place(Path(code.co_filename) if code else otherwise, getattr(function, "__qualname__", ""))


def starts_a_process(place: Place) -> bool:
    """Whether what stands there can, by itself or by what it names."""
    if place not in _KNOWN:
        seen, ahead, found = {place}, [place], False
        while ahead and not found:
            named = _named(ahead.pop())
            found = None in named or any(_KNOWN.get(each, False) for each in named if each)
            new = {each for each in named if each and each not in _KNOWN} - seen
            seen |= new
            ahead += new
        # Nothing that was seen starts one, or this does; which of the others do is not known yet.
        _KNOWN.update({place: True} if found else dict.fromkeys(seen, False))
    return _KNOWN[place]


@cache
def _named(place: Place) -> frozenset[Place | None]:
    """What of this project the text there names; None among it where it starts a process itself."""
    if not _is_ours(place.file):
        return frozenset()  # what libraries do is theirs; the refusal in a quick run is for them, too
    source = _read(place.file)
    meant = {_meant(used, source) for used in source.uses.get(place.name, ())}
    if any(map(_is_a_start, meant)):
        return frozenset({None})
    return frozenset(found for name in meant if (found := _found(name, place.file)))


@cache
def _is_ours(file: Path) -> bool:
    return file.is_relative_to(ROOT) and ".venv" not in file.relative_to(ROOT).parts


def _is_a_start(name: str) -> bool:
    first, *more = name.split(".")
    return (first in _MODULES and bool(more)) or not _CALLS.isdisjoint(more)


def _meant(used: str, source: _Source) -> str:
    first, dot, more = used.partition(".")
    return source.imported.get(first, first) + dot + more


def _found(name: str, file: Path) -> Place | None:
    """Where a dotted name is defined: in this file, or in one of the project."""
    words = name.split(".")
    if words[0] in _read(file).uses:
        return Place(file, words[0])
    for length in range(len(words) - 1, 0, -1):
        module = _module(tuple(words[:length]))
        if module is not None:
            return Place(module, words[length])
    return None


@cache
def _module(words: tuple[str, ...]) -> Path | None:
    path = ROOT.joinpath(*words)
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


@cache
def _read(file: Path) -> _Source:
    source = _Source({}, {})
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            _note_import(node, source.imported)
        elif isinstance(node, ast.ClassDef):
            source.uses[node.name] = _names_in(node)
            methods = (method for method in node.body if isinstance(method, _FUNCTIONS))
            source.uses.update({f"{node.name}.{method.name}": _names_in(method) for method in methods})
        elif isinstance(node, _FUNCTIONS):
            source.uses[node.name] = _names_in(node)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            source.uses.update({target.id: _names_in(node) for target in targets if isinstance(target, ast.Name)})
    return source


def _note_import(node: ast.Import | ast.ImportFrom, imported: dict[str, str]) -> None:
    if isinstance(node, ast.ImportFrom):
        imported.update({alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names})
    else:
        imported.update({alias.asname: alias.name for alias in node.names if alias.asname})


def _names_in(node: ast.AST) -> frozenset[str]:
    dotted = (_dotted(part) for part in ast.walk(node) if isinstance(part, ast.Name | ast.Attribute))
    return frozenset(name for name in dotted if name)


def _dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (before := _dotted(node.value)):
        return f"{before}.{node.attr}"
    return ""
