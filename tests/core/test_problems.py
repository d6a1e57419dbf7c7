"""Table of problems: sorted, complete, and without a code that no refusal uses."""

import importlib
import pkgutil
from collections.abc import Iterator

import pytest

import billing_api
import core
import db
import validator
import workers
from core.errors import Conflict, Refusal
from core.problems import PROBLEMS


def descendants(kind: type[Refusal]) -> Iterator[type[Refusal]]:
    yield kind
    for child in kind.__subclasses__():
        yield from descendants(child)


def test_each_line_is_somebody_s_and_each_refusal_has_a_line() -> None:
    for package in (core, db, billing_api, validator, workers):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if ".migrations" not in module.name and not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    ours = {one for one in descendants(Refusal) if not one.__module__.startswith("tests")}
    assert {one.code for one in ours} == set(PROBLEMS)
    for one in ours:
        assert (one.status, one.title) == (PROBLEMS[one.code].status, PROBLEMS[one.code].title)
        assert one is Refusal or not {"status", "title"} & set(_declared(one)), one


def _declared(one: type[Refusal]) -> Iterator[str]:
    """What the class body says itself; `__init_subclass__` sets the same names afterwards."""
    yield from getattr(one, "__annotations__", {})


def test_the_lines_stand_by_status() -> None:
    statuses = [line.status for line in PROBLEMS.values()]
    assert statuses == sorted(statuses)


def test_a_refusal_without_a_line_cannot_be_defined() -> None:
    with pytest.raises(TypeError, match=r"core/problems.py has no line for the code 'new'"):
        type("New", (Conflict,), {"code": "new"})


@pytest.mark.parametrize(
    ("code", "conclusive"),
    [
        ("invalid_input", True),
        ("invalid_signature", True),
        ("reservation_ended", True),
        ("idempotency_in_progress", False),
        ("request_timeout", False),
        ("too_many_requests", False),
        ("busy", False),
        ("not_ready", False),
        ("internal", False),
    ],
)
def test_what_may_be_concluded_from_a_code(code: str, conclusive: bool) -> None:
    assert PROBLEMS[code].conclusive is conclusive
