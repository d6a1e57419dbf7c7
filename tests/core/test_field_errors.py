"""Validation errors: all errors of a body at once, in words, with a code and its params."""

import enum
import json
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidInput
from core.field_errors import BAD_JSON, FORM, JUDGE, invalid_body


class Size(enum.StrEnum):
    SMALL = "small"
    LARGE = "large"


Note = Annotated[
    str,
    msgspec.Meta(
        max_length=9,
        pattern=r"^\w+$",
        extra={FORM: "one word", JUDGE: lambda text: "is a bad word" if text == "bad" else None},
    ),
]


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    number: Annotated[int, msgspec.Meta(ge=1, le=5)]
    label: Annotated[str, msgspec.Meta(min_length=1, max_length=3, pattern=r"^[^\x00]*$")] | None = None


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    name: str
    size: Size
    parts: Annotated[list[Part], msgspec.Meta(min_length=1, max_length=2)] = []
    part: Part | None = None
    id: UUID | None = None
    at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    kind: Literal["a", "b"] | msgspec.UnsetType = msgspec.UNSET
    share: float = 0.0
    note: Note | None = None


def told(body: bytes) -> list[tuple[str, str, dict[str, Any]]]:
    with pytest.raises(BAD_JSON) as failure:
        msgspec.json.decode(body, type=Order)
    refusal = invalid_body(failure.value, body, Order)
    assert isinstance(refusal, InvalidInput)
    return [(one.field, one.code, dict(one.params)) for one in refusal.errors]


GOOD = {"name": "x", "size": "small"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"name": 5}, ("name", "wrong_type", {"expected": "text", "got": "an integer"})),
        ({"name": None}, ("name", "wrong_type", {"expected": "text", "got": "null"})),
        ({"share": "1"}, ("share", "wrong_type", {"expected": "a number", "got": "text"})),
        ({"size": "huge"}, ("size", "not_one_of", {"allowed": ["small", "large"]})),
        ({"size": 5}, ("size", "wrong_type", {"expected": "text", "got": "an integer"})),
        ({"kind": "c"}, ("kind", "not_one_of", {"allowed": ["a", "b"]})),
        ({"parts": []}, ("parts", "too_short", {"min": 1})),
        ({"parts": {}}, ("parts", "wrong_type", {"expected": "a list", "got": "an object"})),
        ({"parts": [{"number": 1}, {"number": 0}]}, ("parts[1].number", "too_small", {"min": 1})),
        ({"part": {"number": 9}}, ("part.number", "too_large", {"max": 5})),
        ({"part": {}}, ("part.number", "missing", {})),
        ({"part": []}, ("part", "wrong_type", {"expected": "an object", "got": "a list"})),
        ({"part": {"number": 1, "label": ""}}, ("part.label", "too_short", {"min": 1})),
        ({"part": {"number": 1, "label": "long"}}, ("part.label", "too_long", {"max": 3})),
        ({"part": {"number": 1, "label": "\0"}}, ("part.label", "bad_format", {})),
        ({"part": {"number": 1, "size": 1}}, ("part.size", "unknown", {"known": ["label", "number"]})),
        ({"id": "x"}, ("id", "bad_format", {"expected": "a UUID"})),
        ({"note": "two words"}, ("note", "bad_format", {"expected": "one word"})),
    ],
)
def test_one_fault_is_told_with_its_place(changes: dict[str, Any], expected: tuple[str, str, dict[str, Any]]) -> None:
    assert told(json.dumps(GOOD | changes).encode()) == [expected]


class Coded(msgspec.Struct, frozen=True):
    code: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{6}(?![\s\S])")]
    words: Annotated[list[str], msgspec.Meta(min_length=1, max_length=2)] = []
    name: Annotated[str, msgspec.Meta(min_length=1)] = "x"


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b'{"code":"12"}', "code must have another form"),
        (b'{"code":"123456","name":""}', "name must have at least 1 character"),
        (b'{"code":"123456","words":[]}', "words must have at least 1 item"),
        (b'{"code":"123456","words":["1","2","3"]}', "words must have at most 2 items"),
    ],
)
def test_rules_are_told_in_words(body: bytes, detail: str) -> None:
    """No regular expression, also where a type forgot to describe its own; and one character is no plural."""
    with pytest.raises(msgspec.ValidationError) as failure:
        msgspec.json.decode(body, type=Coded)
    refusal = invalid_body(failure.value, body, Coded)
    assert refusal.detail == detail
    assert refusal.errors[0].params in ({}, {"min": 1}, {"max": 2})


@pytest.mark.parametrize("at", ["yesterday", "2026-03-10T00:00:00"])
def test_an_instant_must_be_one_and_have_its_offset(at: str) -> None:
    ((field, code, params),) = told(json.dumps(GOOD | {"at": at}).encode())
    assert (field, code) == ("at", "bad_format")
    assert "offset" in params["expected"]


def test_all_faults_are_told_at_once() -> None:
    body = {"size": 7, "parts": [{}, {"number": "x"}, {"number": 1, "more": 1}], "when": "now", "id": 1}
    assert [(field, code) for field, code, _ in told(json.dumps(body).encode())] == [
        ("when", "unknown"),
        ("name", "missing"),
        ("size", "wrong_type"),
        ("parts", "too_long"),
        ("parts[0].number", "missing"),
        ("parts[1].number", "wrong_type"),
        ("parts[2].more", "unknown"),
        ("id", "wrong_type"),
    ]


def test_what_a_type_says_beside_its_conditions_is_told_together_with_them() -> None:
    assert told(json.dumps(GOOD | {"name": 5, "note": "bad"}).encode()) == [
        ("name", "wrong_type", {"expected": "text", "got": "an integer"}),
        ("note", "invalid", {}),
    ]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"nope", b"\xff\xfe", b'{"name":"\xff"}', b'{"name":"\\ud800"}', b"[" * 5000 + b"]" * 5000]
)
def test_what_is_no_json_is_told_as_that(body: bytes) -> None:
    assert told(body) == [("body", "malformed", {})]


@pytest.mark.parametrize("body", [b"[]", b"null", b"7", b"[" * 100 + b"]" * 100])
def test_json_of_another_type_is_told_of_the_body(body: bytes) -> None:
    assert [(field, code) for field, code, _ in told(body)] == [("body", "wrong_type")]


def test_a_name_that_is_none_is_not_said_again() -> None:
    body = json.dumps(GOOD | {"email=a%40b&password=seven green bicycles": ""}).encode()
    with pytest.raises(msgspec.ValidationError) as failure:
        msgspec.json.decode(body, type=Order)
    refusal = invalid_body(failure.value, body, Order)
    assert "bicycles" not in refusal.detail + str(refusal.errors)


def test_a_value_is_not_said_again() -> None:
    body = json.dumps(GOOD | {"size": "seven green bicycles", "id": "seven green bicycles"}).encode()
    with pytest.raises(msgspec.ValidationError) as failure:
        msgspec.json.decode(body, type=Order)
    assert "bicycles" not in str(invalid_body(failure.value, body, Order).errors)


def test_very_many_faults_are_cut() -> None:
    body = json.dumps(GOOD | {f"more_{number}": 1 for number in range(5000)}).encode()
    assert len(told(body)) == 100


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["name", "size", "parts", "part", "id", "at", "kind", "share", "x"]), JSON))
def test_whatever_the_decoder_refuses_is_told(value: dict[str, Any]) -> None:
    body = msgspec.json.encode(value)
    try:
        msgspec.json.decode(body, type=Order)
    except (msgspec.DecodeError, UnicodeDecodeError) as failure:
        errors = invalid_body(failure, body, Order).errors
        assert errors
        assert all(one.code != "invalid" and "`" not in one.detail for one in errors), errors
