"""Each kind of mail has a subject and both templates, and no template is left without a kind."""

import ast
from pathlib import Path

import pytest
from jinja2 import Environment, PackageLoader, meta

from billing_api.notifications import mails
from billing_api.notifications.mails.subjects import MAIL_KINDS
from db.models.identity import TokenPurpose

TEMPLATES = Path(str(mails.__file__)).parent / "templates"
SHARED = {"layout.html", "parts.html"}
ROOT = Path(__file__).parents[4]


def test_each_kind_has_both_templates_and_each_template_a_kind() -> None:
    there = {path.name for path in TEMPLATES.iterdir()} - SHARED
    assert there == {f"{kind}.{form}" for kind in MAIL_KINDS for form in ("txt", "html")}


@pytest.mark.parametrize("kind", MAIL_KINDS)
def test_a_link_stands_in_both_forms_or_in_none(kind: str) -> None:
    environment = Environment(loader=PackageLoader("billing_api.notifications.mails"), autoescape=True)
    named = [
        "link" in meta.find_undeclared_variables(environment.parse((TEMPLATES / f"{kind}.{form}").read_text()))
        for form in ("txt", "html")
    ]
    assert named == [MAIL_KINDS[kind].link_path is not None] * 2


def test_subjects_and_paths_are_told_apart() -> None:
    subjects = [kind.subject for kind in MAIL_KINDS.values()]
    paths = [kind.link_path for kind in MAIL_KINDS.values() if kind.link_path is not None]
    assert all(subjects)
    assert len(set(subjects)) == len(subjects)
    assert len(set(paths)) == len(paths)


def test_each_purpose_of_a_token_has_a_mail_with_a_link() -> None:
    assert all(MAIL_KINDS[purpose.value].link_path for purpose in TokenPurpose)


def test_each_kind_is_named_by_the_code_that_queues_it() -> None:
    """A misspelled name would fail when the mail is sent; a kind without a name in code is never sent."""
    words: set[object] = {purpose.value for purpose in TokenPurpose}
    for room in ("billing_api", "core", "workers"):
        for path in (ROOT / room).rglob("*.py"):
            if path.name != "subjects.py":
                words |= {
                    node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)
                }
    assert words >= set(MAIL_KINDS)
