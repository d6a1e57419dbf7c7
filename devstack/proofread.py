"""Proofreading: what no linter looks for. `python -m devstack.proofread` is a part of `make check`.

A registry's host name or a path of one machine in a tracked file is a fault: it would work for one person only. Slips
of wording (`devstack/wording.py`) are listed by kind with their count; the kinds in `GATES` fail the check.
Long files and functions are only listed: each is a place to look at, none is an error by itself.
Arguments restrict the list to paths that begin with one of them: `python -m devstack.proofread core/ docs/`.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from core.counted import counted
from devstack import wording

_FAULTS: Final = {
    "a package registry's host": re.compile(r"py[p]i\.org|python[h]osted\.org|npm[j]s\.(org|com)|deb\.[d]ebian\.org"),
    "a path of one machine": re.compile(r"(?<![\w.}$])/(work|root|home|Users)/[\w.]"),
}
_FILE_LINES: Final = 300
_TEST_FILE_LINES: Final = 500
_FUNCTION_LINES: Final = 40

SPELLING: Final = "British spellings"
PRONOUNS: Final = "pronouns without a name"
COUNTS: Final = "plurals after any number"
HEADS: Final = "module heads"
SENTENCES: Final = "long sentences in docstrings"
METAPHORS: Final = "metaphors"
LONG_PLACES: Final = "long places"
GATES: Final = frozenset({SPELLING, PRONOUNS, COUNTS})
"""The kinds that fail the check."""

_SPELLINGS_THAT_STAY: Final[Mapping[str, frozenset[str]]] = {
    # A rule of its own needs both spellings: neither may be part of a password.
    "billing_api/identity/credentials/password_policy.py": frozenset({"licen" + "ce"}),
}

# Migrations that are written stay as they are; lock files are made by tools.
_NO_PROSE_OF_OURS: Final = re.compile(r"db/migrations/versions/|(?:.*/)?requirements\.lock$")


def faults(path: str, text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), start=1):
        for what, pattern in _FAULTS.items():
            if pattern.search(line):
                yield f"{path}:{number}: {what}: {line.strip()[:100]}"


def slips(path: str, text: str) -> Iterator[tuple[str, str]]:
    """Kind and place of each slip of wording, and of each long place."""
    prose = not _NO_PROSE_OF_OURS.match(path)
    if prose:
        yield from _in_lines(path, text)
    if path.endswith(".py"):
        tree = ast.parse(text)
        yield from ((LONG_PLACES, place) for place in long_places(path, text, tree))
        if prose:
            yield from _in_docstrings(path, tree)
        if prose and not path.startswith("tests/"):
            yield from ((COUNTS, f"{path}:{number}: {what}") for number, what in wording.numbers_before_plurals(tree))


def _in_lines(path: str, text: str) -> Iterator[tuple[str, str]]:
    lines = text.splitlines()
    found = {
        SPELLING: wording.british_spellings(text),
        PRONOUNS: wording.pronouns(text),
        METAPHORS: wording.metaphors(text),
    }
    allowed = _SPELLINGS_THAT_STAY.get(path, frozenset())
    for kind, places in found.items():
        for number, word in places:
            if word not in allowed:
                yield kind, f"{path}:{number}: {word}: {lines[number - 1].strip()[:100]}"


def _in_docstrings(path: str, tree: ast.Module) -> Iterator[tuple[str, str]]:
    if not path.startswith("tests/"):
        yield from ((HEADS, f"{path}:{number}: {what[:100]}") for number, what in wording.module_heads(tree))
    yield from ((SENTENCES, f"{path}:{number}: {what[:100]}") for number, what in wording.long_sentences(tree))


def long_places(path: str, text: str, tree: ast.Module) -> Iterator[str]:
    lines = text.count("\n")
    if lines > (_TEST_FILE_LINES if path.startswith("tests/") else _FILE_LINES):
        yield f"{path}: {counted(lines, 'line')}"
    for node in wording.definitions(tree):
        length = (node.end_lineno or node.lineno) - node.lineno + 1
        if length > _FUNCTION_LINES and not isinstance(node, ast.ClassDef):
            yield f"{path}:{node.lineno}: {node.name} has {counted(length, 'line')}"


def tracked(root: Path) -> list[str]:
    """Every file that is, or would be, committed."""
    words = ("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z")
    listed = subprocess.run(words, cwd=root, capture_output=True, text=True, check=True).stdout
    return sorted({path for path in listed.split("\0") if path and (root / path).is_file()})


def _texts(root: Path, beginnings: Sequence[str]) -> Iterator[tuple[str, str]]:
    for path in tracked(root):
        if not beginnings or path.startswith(tuple(beginnings)):
            try:
                yield path, (root / path).read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue  # not a text


def _report(places: Mapping[str, Sequence[str]]) -> None:
    for kind, listed in places.items():
        if listed:
            print("\n  ".join([f"{kind}: {len(listed)}", *listed]))


def main(root: Path, *beginnings: str, gates: frozenset[str] = GATES) -> int:
    found: list[str] = []
    kinds = (LONG_PLACES, SENTENCES, METAPHORS, HEADS, COUNTS, PRONOUNS, SPELLING)
    places: dict[str, list[str]] = {kind: [] for kind in kinds}
    for path, text in _texts(root, beginnings):
        found += faults(path, text)
        for kind, place in slips(path, text):
            places[kind].append(place)
    _report(places)
    if found:
        print("\n  ".join(["these must not be committed:", *found]), file=sys.stderr)
    failing = [kind for kind in gates if places[kind]]
    if failing:
        print(f"correct these before you commit: {', '.join(sorted(failing))}", file=sys.stderr)
    return 1 if found or failing else 0


if __name__ == "__main__":
    raise SystemExit(main(Path(__file__).resolve().parent.parent, *sys.argv[1:]))
