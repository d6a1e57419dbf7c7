"""What no linter looks for: `python -m devstack.proofread`, a part of `make check`.

A registry's host name or a path of somebody's machine in a tracked file is a fault: it would work for one person only.
Long files and functions are only listed: each is a place to look at, none is an error by itself.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_FAULTS: Final = {
    "a package registry's host": re.compile(r"py[p]i\.org|python[h]osted\.org|npm[j]s\.(org|com)|deb\.[d]ebian\.org"),
    "a path of one machine": re.compile(r"(?<![\w.}$])/(work|root|home|Users)/[\w.]"),
}
_FILE_LINES: Final = 300
_TEST_FILE_LINES: Final = 500
_FUNCTION_LINES: Final = 40


def faults(path: str, text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), start=1):
        for what, pattern in _FAULTS.items():
            if pattern.search(line):
                yield f"{path}:{number}: {what}: {line.strip()[:100]}"


def long_places(path: str, text: str) -> Iterator[str]:
    lines = text.count("\n")
    if lines > (_TEST_FILE_LINES if path.startswith("tests/") else _FILE_LINES):
        yield f"{path}: {lines} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > _FUNCTION_LINES:
                yield f"{path}:{node.lineno}: {node.name} has {length} lines"


def tracked(root: Path) -> list[str]:
    """Every file that is, or would be, committed."""
    words = ("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z")
    listed = subprocess.run(words, cwd=root, capture_output=True, text=True, check=True).stdout
    return sorted({path for path in listed.split("\0") if path and (root / path).is_file()})


def main(root: Path) -> int:
    found: list[str] = []
    places: list[str] = []
    for path in tracked(root):
        try:
            text = (root / path).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # not a text
        found += faults(path, text)
        if path.endswith(".py"):
            places += long_places(path, text)
    if places:
        print("\n  ".join(["long places, to be looked at:", *places]))
    if found:
        print("\n  ".join(["these must not be committed:", *found]), file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main(Path(__file__).resolve().parent.parent))
