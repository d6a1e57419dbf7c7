"""Proofreading: faults that must not be committed, slips that are listed by kind, kinds that fail the check."""

import ast
import subprocess
from pathlib import Path

import pytest

from devstack import proofread
from devstack.proofread import faults, long_places, main, slips

HOST = "https://py" + "pi.org/simple"
PLACE = "/ro" + "ot/project/file"
# In pieces, so that the proofreader does not find them here.
BRITISH = "licen" + "ce"
PRONOUN = "who" + "ever"
METAPHOR = "rin" + "gs"


def _long(path: str, text: str) -> list[str]:
    return list(long_places(path, text, ast.parse(text)))


def _kinds(path: str, text: str) -> set[str]:
    return {kind for kind, _ in slips(path, text)}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    subprocess.run(("git", "init", "-q", tmp_path), check=True)
    return tmp_path


@pytest.mark.parametrize("line", [HOST, f"see {PLACE}", "cd /ho" + "me/me", f'"{PLACE}"'])
def test_hosts_and_paths_of_one_machine_are_faults(line: str) -> None:
    assert [fault.split(":")[:2] for fault in faults("docs/a.md", f"fine\n{line}\n")] == [["docs/a.md", "2"]]


@pytest.mark.parametrize(
    "line", ["/api/v1/work", "$HOME/work/x", "./root/x", "https://example.com/home/page", "/var/cache/x"]
)
def test_other_paths_are_not(line: str) -> None:
    assert list(faults("docs/a.md", line)) == []


def test_long_files_and_functions_are_listed() -> None:
    body = "".join(f"    x = {number}\n" for number in range(40))
    assert _long("core/a.py", f"def short():\n{body[:20]}\n") == []
    assert _long("core/a.py", f"class A:\n def long():\n{body}") == ["core/a.py:2: long has 41 lines"]
    assert _long("core/a.py", "\n" * 301) == ["core/a.py: 301 lines"]
    assert _long("tests/a.py", "\n" * 301) == []


@pytest.mark.parametrize(
    "word", [BRITISH, "behavio" + "ur", "recogni" + "sed", "enro" + "l", "THE_COLO" + "UR", "sp" + "elt"]
)
def test_british_spellings_are_found_in_prose_and_in_names(word: str) -> None:
    for path in ("docs/a.md", "Makefile", "core/a.lua", "tests/test_a.py"):
        assert list(slips(path, f"fine\n\nx = {word}_s\n")) == [
            (proofread.SPELLING, f"{path}:3: {word}_s: x = {word}_s"),
        ]


def test_a_spelling_that_stays_has_its_file() -> None:
    path = "billing_api/identity/credentials/password_policy.py"
    assert list(slips(path, f'"""Policy: a rule."""\nx = "{BRITISH}"\n')) == []
    assert _kinds(path, f'"""Policy: a rule."""\nx = "{BRITISH}s"\n') == {proofread.SPELLING}
    assert BRITISH in (Path(proofread.__file__).parents[1] / path).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "word", ["license", "cancelled", "four", "raised", "enrolled", "promise", "pretense", "otherwise"]
)
def test_american_spellings_and_names_of_the_specification_are_not(word: str) -> None:
    assert _kinds("docs/a.md", word) == set()


@pytest.mark.parametrize("word", [PRONOUN, "H" + "e", "hi" + "s", "hi" + "mself"])
def test_pronouns_are_found_in_prose_and_not_inside_names(word: str) -> None:
    assert list(slips("docs/a.md", f"The user.\nThen {word} pays.")) == [
        (proofread.PRONOUNS, f"docs/a.md:2: {word}: Then {word} pays."),
    ]
    assert _kinds("docs/a.md", f"test_{word}_pays, t{word}, {word}t") == set()


def test_metaphors_are_found() -> None:
    assert _kinds("core/a.lua", f"-- it {METAPHOR} for a row") == {proofread.METAPHORS}
    assert _kinds("core/a.lua", f"-- key{METAPHOR} and st{METAPHOR}") == set()


@pytest.mark.parametrize(
    "head",
    [
        "x = 1\n",
        '"""What a batch does."""\n',
        '"""How it ends."""\n',
        '"""Where it lies."""\n',
        f'"""Token bucket: {"word " * 24}end."""\n',
    ],
)
def test_a_module_begins_with_a_short_sentence_that_names_its_term(head: str) -> None:
    assert _kinds("core/__init__.py", head) == {proofread.HEADS}
    assert _kinds("tests/a.py", head) == set(), "tests are named for what they show"


def test_a_head_that_names_its_term_is_fine() -> None:
    assert _kinds("core/a.py", f'"""Token bucket: a limit.\n\nWhat follows may be {"long " * 20}."""\n') == set()


def test_a_number_before_a_plural_is_found_where_it_varies() -> None:
    found, fine = ["{seconds} seconds", "{len(rows):,} old rows"], ["{LIMIT} bytes", "{a.LIMIT} bytes", "{name} takes"]
    text = "".join(f'f"{one}"\n' for one in [*found, *fine])
    assert [place for kind, place in slips("core/a.py", f'"""Module: a."""\n{text}') if kind == proofread.COUNTS] == [
        "core/a.py:2: seconds seconds",
        "core/a.py:3: len(rows) old rows",
    ]


def test_a_sentence_of_more_than_forty_words_is_found_wherever_a_docstring_stands() -> None:
    long = f'"""Short. {"word " * 41}end."""'
    for text in (long, f'"""A term."""\nclass A:\n  if 1:\n    def f():\n      {long}\n'):
        assert _kinds("core/a.py", text) == {proofread.SENTENCES}
    item = "word " * 20
    fine = f'"""A term.\n\n- {item}\n- {item}\n\n{item}\n\n    {item}\n\n{item}"""\n'
    assert _kinds("core/a.py", fine) == set(), "items, blocks and paragraphs are sentences of their own"


def test_migrations_that_are_written_and_lock_files_are_not_judged() -> None:
    for path in ("db/migrations/versions/0001_first.sql", "requirements.lock", "deploy/requirements.lock"):
        assert _kinds(path, f"{BRITISH} {PRONOUN} {METAPHOR}") == set()


def test_only_faults_and_gated_kinds_fail_and_ignored_files_are_not_read(
    tree: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tree / ".gitignore").write_text("private\n")
    (tree / "private").write_text(HOST)
    (tree / "picture").write_bytes(b"\xff\xfe")
    (tree / "long.py").write_text('"""A term."""' + "\n" * 301)
    assert main(tree) == 0
    assert "long places: 1\n  long.py: 301 lines" in capfd.readouterr().out
    (tree / "new.md").write_text(HOST)
    assert main(tree) == 1
    assert "new.md:1: a package registry's host" in capfd.readouterr().err


@pytest.mark.parametrize(("kind", "slip"), [(proofread.SPELLING, BRITISH), (proofread.PRONOUNS, PRONOUN)])
def test_a_gated_kind_fails_and_says_so(tree: Path, capfd: pytest.CaptureFixture[str], kind: str, slip: str) -> None:
    (tree / "a.md").write_text(f"{slip} and {slip}")
    assert main(tree, gates=frozenset()) == 0
    assert main(tree, gates=frozenset({kind})) == 1
    told = capfd.readouterr()
    assert f"{kind}: 2\n  a.md:1: {slip}" in told.out
    assert kind in told.err
    assert main(tree, gates=frozenset({proofread.METAPHORS})) == 0


def test_the_list_can_be_restricted_to_beginnings_of_paths(tree: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("a.md", "b.md"):
        (tree / name).write_text(BRITISH)
    assert main(tree, "b", gates=frozenset({proofread.SPELLING})) == 1
    told = capfd.readouterr().out
    assert "b.md:1" in told
    assert "a.md:1" not in told


def test_the_project_passes() -> None:
    assert main(Path(proofread.__file__).resolve().parents[1]) == 0
