"""Code blocks of the README files and of the pages whose calls can be tried: read, and run as one shell session.

A block that is not run says why, in a comment on the line before it, which readers of the rendered page do not see:

    <!-- not run: it would stop the stack -->

Blocks of shell are run by bash in their order, as by somebody who copies one after the other into one terminal. Where a
block of JSON follows, it shows the answer: the last line that the block before it printed must have the same names.
"""

import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

SHELL: Final = frozenset({"sh"})
TEXT: Final = frozenset({"json", "text"})
_FENCE: Final = re.compile(r"^(?P<indent>[ ]*)```(?P<language>[\w-]*)[ ]*$")
_REASON: Final = re.compile(r"^\s*<!-- not run: (?P<why>.+) -->\s*$")
_PATIENCE: Final = 300.0
"""Seconds for one page."""


class Block(NamedTuple):
    page: str
    line: int
    language: str
    text: str
    why_not: str | None
    """Why it is not run."""

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"


class Ran(NamedTuple):
    block: Block
    output: str


class BlockFailed(AssertionError):
    """A block ended with an error; the text has the block and what was printed."""


def pages(root: Path, *others: str) -> list[str]:
    """Every README that is tracked or would be, and `others`: in the order in which a newcomer reads them."""
    words = ("git", "ls-files", "--cached", "--others", "--exclude-standard", "*README.md")
    listed = subprocess.run(words, cwd=root, capture_output=True, text=True, check=True).stdout.split()
    return ["README.md", *others, *sorted(set(listed) - {"README.md"})]


def blocks(page: str, text: str) -> list[Block]:
    """All fenced blocks of a page."""
    found: list[Block] = []
    lines = iter(enumerate(text.splitlines(), start=1))
    before = ""
    for number, line in lines:
        opening = _FENCE.match(line)
        if opening is not None:
            body = []
            for _, inner in lines:
                if inner.strip() == "```":
                    break
                body.append(inner.removeprefix(opening["indent"]))
            why = _REASON.match(before)
            content = "\n".join(body) + "\n"
            found.append(Block(page, number, opening["language"], content, None if why is None else why["why"]))
        before = line
    return found


def run(
    session: Sequence[Block], *, root: Path, folder: Path, env: Mapping[str, str], as_here: Mapping[str, str]
) -> list[Ran]:
    """Runs the shell blocks of a session in order, in one bash; BlockFailed names the one that ended with an error.

    `as_here`: what a block says, and what stands for it here: addresses, and the folder of the running stack.
    """
    script, place = folder / "session.sh", folder / "place"
    outputs = [folder / f"{number}.out" for number in range(len(session))]
    lines = ["set -euo pipefail"]
    for block, output in zip(session, outputs, strict=True):
        lines += [f"echo {block.place} >{place}", f"exec >{output} 2>&1", _translated(block.text, as_here)]
    script.write_text("\n".join(lines), encoding="utf-8")
    words = ("bash", str(script))
    try:
        ended = subprocess.run(words, cwd=root, env=env, timeout=_PATIENCE, stdin=subprocess.DEVNULL, check=False)
        how = f"ended with {ended.returncode}" if ended.returncode else ""
    except subprocess.TimeoutExpired:
        how = f"did not end within {_PATIENCE:.0f} s"
    said = [output.read_text(encoding="utf-8") if output.exists() else "" for output in outputs]
    if how:
        at = place.read_text(encoding="utf-8").strip()
        failed = next(number for number, block in enumerate(session) if block.place == at)
        raise BlockFailed(f"{at} {how}:\n{session[failed].text}\nprinted:\n{said[failed]}")
    return [Ran(block, output) for block, output in zip(session, said, strict=True)]


def shown_otherwise(all_blocks: Sequence[Block], ran: Sequence[Ran]) -> list[str]:
    """Where a page shows an answer in JSON, and the call before it gave one with other names."""
    outputs = {one.block.place: one.output for one in ran}
    wrong = []
    for before, block in pairwise(all_blocks):
        if block.language == "json" and before.place in outputs:
            shown = _names(json.loads(block.text))
            given = _names(_last_json(outputs[before.place]))
            if shown != given:
                wrong.append(f"{block.place} shows {shown}, and the call answered {given}")
    return wrong


def _translated(text: str, as_here: Mapping[str, str]) -> str:
    for said, meant in as_here.items():
        text = text.replace(said, meant)
    return text


def _last_json(output: str) -> Any:
    lines = [line for line in output.splitlines() if line.strip()]
    try:
        return json.loads(lines[-1])
    except (IndexError, json.JSONDecodeError):
        return output


def _names(value: Any) -> Any:
    """The form of a document: its names, at every depth."""
    if isinstance(value, dict):
        return {name: _names(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_names(inner) for inner in value[:1]]
    return None
