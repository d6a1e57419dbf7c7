"""The OpenAPI document describes everything, and its examples are valid, accepted, and speak of one customer."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from jsonschema import Draft202012Validator

from billing_api.server.openapi_files import described_app, main
from billing_api.server.reference.document import document
from billing_api.server.reference.operations import ACCESS, body_type, operations
from billing_api.web import fields
from core.problems import MEDIA_TYPE, PROBLEMS
from tests.support import openapi_gaps
from tests.support.openapi_gaps import gaps, missing_examples
from tests.support.servers import ROOT

Json = dict[str, Any]
ONE_OF_A_KIND: Final = {
    "license_id": fields.LICENSE,
    "subscription_id": fields.SUBSCRIPTION,
    "user_id": fields.USER,
    "license_key": fields.KEY,
    "key_id": fields.KEY_ID,
}


@cache
def described() -> Json:
    return document(described_app())


def contents() -> Iterator[tuple[str, Json]]:
    """Every body, answer and error of the document, by name."""
    for name, operation in openapi_gaps.operations(described()):
        places = {"body": operation.get("requestBody", {})} | dict(operation["responses"])
        for place, content in places.items():
            yield from ((f"{name} {place}", each) for each in content.get("content", {}).values())
    for name, response in described()["components"]["responses"].items():
        yield from ((name, each) for each in response["content"].values())


def test_nothing_is_undescribed() -> None:
    """tests/support/openapi_gaps.py says how to describe a new route."""
    assert gaps(described()) == {}
    assert missing_examples(described()) == {}


def test_every_example_satisfies_its_schema() -> None:
    seen = 0
    for name, content in contents():
        full = {**content["schema"], "components": described()["components"]}
        checker = Draft202012Validator(full, format_checker=Draft202012Validator.FORMAT_CHECKER)
        for example in content["examples"].values():
            assert [fault.message for fault in checker.iter_errors(example["value"])] == [], name
            seen += 1
    assert seen > 140


def test_every_body_is_accepted_as_its_example_has_it() -> None:
    seen = 0
    for path, method, handler in operations(described_app()):
        body = described()["paths"][path][method].get("requestBody", {})
        for media_type, content in body.get("content", {}).items():
            if media_type != "application/json":
                continue
            for kind, example in zip(_structs(body_type(handler)), content["examples"].values(), strict=True):
                msgspec.json.decode(msgspec.json.encode(example["value"]), type=kind)
                seen += 1
    assert seen > 30


def _structs(kind: Any) -> list[Any]:
    members = getattr(kind, "__args__", (kind,))
    return [member for member in members if member is not type(None)]


@pytest.mark.parametrize(("field", "value"), ONE_OF_A_KIND.items(), ids=ONE_OF_A_KIND.keys())
def test_examples_speak_of_one_customer_and_one_license(field: str, value: str) -> None:
    found = {
        told
        for _, content in contents()
        for example in content["examples"].values()
        for told in _values(example["value"], field)
    }
    assert found - {None} == {value}


def _values(node: Any, field: str) -> Iterator[Any]:
    if isinstance(node, dict):
        for name, value in node.items():
            yield from [value] if name == field else _values(value, field)
    elif isinstance(node, list):
        for item in node:
            yield from _values(item, field)


def test_a_body_is_required_unless_its_handler_goes_without() -> None:
    optional = {
        name
        for name, operation in openapi_gaps.operations(described())
        if not operation.get("requestBody", {"required": True})["required"]
    }
    assert "POST /api/v1/api-keys/{api_key_id}/rotate" in optional
    assert "POST /api/v1/licenses/{license_id}/api-keys" not in optional


def test_every_error_is_one_of_its_status() -> None:
    shared, seen = described()["components"]["responses"], set()
    for name, operation in openapi_gaps.operations(described()):
        for status, response in operation["responses"].items():
            if "$ref" not in response:
                continue
            content = shared[response["$ref"].rpartition("/")[2]]["content"][MEDIA_TYPE]
            for code, example in content["examples"].items():
                assert (example["value"]["code"], example["value"]["status"]) == (code, int(status)), name
                assert PROBLEMS[code].status == int(status)
                seen.add(code)
    assert len(seen) > 20


def test_a_gap_of_each_kind_is_found() -> None:
    bare = {
        "paths": {
            "/x": {
                "post": {
                    "summary": "MakeX",
                    "description": f"{ACCESS}anybody.",
                    "parameters": [{"name": "q", "in": "query"}],
                    "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/X"}}}},
                    "responses": {"200": {"content": {"application/json": {"schema": {}}}}},
                }
            }
        },
        "components": {"schemas": {"X": {"title": "X", "properties": {"y": {"type": "string"}}}}},
    }
    assert gaps(bare) == {
        "POST /x": [
            "summary",
            "description",
            "description of the parameter q",
            "example of the body",
            "example of the answer 200",
        ],
        "X": ["description", "description of the field y"],
    }
    assert missing_examples(bare) == {"X": "X.y: give it an example, by msgspec.Meta(examples=[...])"}


def test_the_page_is_made_of_this_document(tmp_path: Path) -> None:
    """After a change: make openapi."""
    main(tmp_path)
    assert (ROOT / "docs" / "api.md").read_text("utf-8") == (tmp_path / "api.md").read_text("utf-8")


def test_every_link_of_the_page_leads_somewhere() -> None:
    page = (ROOT / "docs" / "api.md").read_text("utf-8")
    headings = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    anchors = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
    assert len(anchors) == len(set(anchors))
    assert set(re.findall(r"\]\(#([^)]+)\)", page)) <= set(anchors)
