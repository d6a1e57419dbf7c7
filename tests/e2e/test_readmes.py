"""Every block of every README, and of the pages by role, copied out and run against the stack in the order of reading.

A new block is run without a word here. One that cannot be run says so in the page, and is in the list below.
"""

import re
import sys
from pathlib import Path
from typing import Final

import pytest

from core.licensing.plan import RESOURCE_OF_FEATURE, RESOURCES
from core.settings import process_environment
from devstack.visitor import Visitor
from tests.e2e.conftest import RunningStack
from tests.support.readme_blocks import SHELL, TEXT, Block, BlockFailed, blocks, pages, run, shown_otherwise
from tests.support.servers import ROOT

BY_ROLE: Final = ("docs/panel.md", "docs/administration.md")
NOT_RUN: Final = {
    "README.md": ["make up", "make seed", "make down", "NP_DATA=.data-2"],
    "docs/administration.md": ["colleague_id="],
}
"""The beginning of each block that is not run; the page says why."""
RUN_BY: Final = {"clients/python/README.md": "tests/e2e/test_client_readme.py"}
"""Pages that have a test of their own, because their blocks are a program in several parts."""

DEMO: Final = (
    "the license is there",
    "50 left",
    "the validator knows",
    "no limit of databases",
    "databases: 1 of 5 used",
    "SUSPENDED",
    "resumes it: VALID",
)
"""Steps that `make demo` tells."""


def everything() -> list[Block]:
    listed = [page for page in pages(ROOT, *BY_ROLE) if page not in RUN_BY]
    return [block for page in listed for block in blocks(page, (ROOT / page).read_text(encoding="utf-8"))]


def test_a_page_with_a_test_of_its_own_has_one() -> None:
    for page, test in RUN_BY.items():
        assert (ROOT / page).is_file()
        assert "README.md" in (ROOT / test).read_text(encoding="utf-8")


def test_every_block_has_a_language_that_is_run_or_only_read() -> None:
    known = SHELL | TEXT
    assert [block.place for block in everything() if block.language not in known] == []


def test_blocks_that_are_not_run_are_few_and_say_why() -> None:
    silent = [block for block in everything() if block.why_not is not None]
    sys.stdout.writelines(f"{block.place}: not run: {block.why_not}\n" for block in silent)
    listed = {(page, start) for page, starts in NOT_RUN.items() for start in starts}
    found = {(block.page, start) for block in silent for page, start in listed if block.text.startswith(start)}
    assert len(silent) == len(listed), "list a new block that is not run, or remove one that is gone"
    assert found == listed


@pytest.mark.usefixtures("visitor")  # it waits until the tests before have left a calm stack
def test_every_block_runs(stack: RunningStack, tmp_path: Path) -> None:
    facts = stack.facts()
    as_here = {
        "http://127.0.0.1:8001": str(facts["billing_api"]),
        "http://127.0.0.1:8002": str(facts["validator"]),
        ".data/": f"{stack.data}/",
    }
    env = {name: value for name, value in process_environment().items() if not name.startswith(("NP_", "STRIPE_"))}
    session = [block for block in everything() if block.language in SHELL and block.why_not is None]
    ran = run(session, root=ROOT, folder=tmp_path, env=env | {"NP_DATA": str(stack.data)}, as_here=as_here)
    assert len(ran) == len(session) >= 6
    demo = next(one.output for one in ran if one.block.text.startswith("make demo"))
    assert [step for step in DEMO if step not in demo] == []
    assert shown_otherwise(everything(), ran) == []


def test_the_tables_of_resources_and_flags_are_those_of_the_plans(visitor: Visitor) -> None:
    plans = [visitor.plan(name) for name in ("Starter", "Professional", "Enterprise")]
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    said = {name: cells.split(" | ") for name, cells in rows}
    for resource in RESOURCES:
        limits = [plan[f"max_{resource}"] for plan in plans]
        assert said[resource][-3:] == ["no limit" if limit is None else f"{limit:,}" for limit in limits]
        feature = next((name for name, counted in RESOURCE_OF_FEATURE.items() if counted == resource), None)
        assert said[resource][1] == f"`{feature}`" or (feature is None and said[resource][1].startswith("none"))
    flags = {name for plan in plans for name, value in plan["features"].items() if isinstance(value, bool)}
    assert flags == set(said) - set(RESOURCES)
    for flag in flags:
        assert said[flag] == ["yes" if plan["features"].get(flag) else "no" for plan in plans]


def test_a_block_that_fails_is_named(tmp_path: Path) -> None:
    page = "```sh\nx=1\n```\ntext\n```sh\necho $x; false; echo never\n```\n"
    with pytest.raises(BlockFailed, match=r"a\.md:5 ended with 1:(.|\n)*printed:\n1\n$"):
        run(blocks("a.md", page), root=tmp_path, folder=tmp_path, env=process_environment(), as_here={})


def test_an_answer_of_another_form_is_found(tmp_path: Path) -> None:
    page = '```sh\necho \'{"a":{"c":1}}\'\n```\n```json\n{"a":{"b":1}}\n```\n'
    both = blocks("a.md", page)
    ran = run(both[:1], root=tmp_path, folder=tmp_path, env=process_environment(), as_here={})
    assert len(shown_otherwise(both, ran)) == 1
    assert shown_otherwise([both[0], both[1]._replace(text='{"a":{"c":9}}')], ran) == []


def test_a_reason_stands_on_the_line_before() -> None:
    page = "<!-- not run: it stops -->\n```sh\nmake down\n```\n```sh\ntrue\n```\n"
    assert [block.why_not for block in blocks("a.md", page)] == ["it stops", None]
