"""OpenAPI document: it agrees with the code and with a running validator."""

import ast
import importlib
import json
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import jsonschema
import msgspec
import pytest
from jsonschema import Draft202012Validator

import validator
from core import field_errors
from core.clock import unix_time
from core.errors import Refusal
from core.licensing.record import PERMISSIONS, LeaseRecord
from core.licensing.verdict import Code
from tests.support.openapi_gaps import gaps
from tests.support.servers import ROOT
from tests.validator.stage import PATH, ApiKey, Panel, Projection, eventually
from validator.http.problems import UNREADABLE
from validator.reference import advice, openapi
from validator.reference.openapi import CALLS, Call

DOCUMENT: Final[dict[str, Any]] = json.loads(openapi.document())
MODULES: Final = [
    importlib.import_module(module.name)
    for module in pkgutil.walk_packages(validator.__path__, "validator.")
    if module.name != "validator.__main__"
]


def resolved(node: Any) -> Any:
    """The schema with every reference replaced by its target."""
    if isinstance(node, list):
        return [resolved(item) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        found = DOCUMENT
        for step in node["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        return resolved(found)
    return {name: resolved(item) for name, item in node.items()}


def check(content: Any, schema: Any) -> None:
    """The value satisfies the schema, and has no field that the schema lacks."""
    full = resolved(schema)
    jsonschema.validate(content, full, cls=Draft202012Validator)
    assert content.keys() <= full["properties"].keys()


def operation(call: Call) -> Any:
    return DOCUMENT["paths"][PATH + call.name]["post"]


def check_answer(call: Call, response: httpx.Response) -> None:
    """The answer is one that the document describes."""
    said = resolved(operation(call)["responses"])[str(response.status_code)]["content"]
    check(response.json(), said[response.headers["content-type"]]["schema"])


def classes_of(module: Any) -> Iterator[type[Refusal]]:
    yield from (one for one in vars(module).values() if isinstance(one, type) and issubclass(one, Refusal))


def nodes() -> Iterator[ast.AST]:
    """All syntax nodes of the validator's source."""
    for module in MODULES:
        yield from ast.walk(ast.parse(Path(str(module.__file__)).read_text("utf-8")))


class TestTheFiles:
    @pytest.mark.parametrize("name", ["validator-openapi.json", "validator-errors.md", "problems.md"])
    def test_are_what_the_code_says(self, name: str, tmp_path: Path) -> None:
        """After a change: make openapi."""
        openapi.main(tmp_path)
        assert (ROOT / "docs" / name).read_bytes() == (tmp_path / name).read_bytes()

    async def test_one_is_served_to_anybody(self, client: httpx.AsyncClient) -> None:
        response = await client.get("/schema/openapi.json")
        assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
        assert response.json() == DOCUMENT


class TestTheTableOfErrors:
    def test_names_every_refusal_that_the_validator_can_answer_with(self) -> None:
        known = {one for module in MODULES for one in classes_of(module)}
        leaves = {one for one in known if not any(other is not one and issubclass(other, one) for other in known)}
        told = {one.code for one in advice.PROBLEMS}
        assert {one.code for one in leaves} <= told
        assert len(leaves) > 15
        raised = [node.exc for node in nodes() if isinstance(node, ast.Raise)]
        names = {one.func if isinstance(one, ast.Call) else one for one in raised}
        by_name = {one.__name__: one for one in known}
        answered = {by_name[one.id] for one in names if isinstance(one, ast.Name) and one.id in by_name}
        assert len(answered) > 5
        assert {one.code for one in answered | set(UNREADABLE.values())} <= told

    def test_names_nothing_that_is_not(self) -> None:
        known = {one.code for module in (*MODULES, field_errors) for one in classes_of(module)}
        assert {one.code for one in advice.PROBLEMS} <= known

    def test_knows_every_status_of_bytes_that_cannot_be_read(self) -> None:
        calls = [node for node in nodes() if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
        given = [one.args[0] for one in calls if ast.unparse(one.func) in {"BadStream", "ProtocolFault"}]
        statuses = {status.value for status in given if isinstance(status, ast.Constant)}
        assert {400, 408, 413, 503} <= statuses
        assert statuses == UNREADABLE.keys()

    def test_is_in_the_order_of_statuses_and_verdicts_in_that_of_the_rules(self) -> None:
        statuses = [one.status for one in advice.PROBLEMS]
        assert statuses == sorted(statuses)
        assert list(advice.VERDICTS) == list(Code)


class TestTheDocument:
    def test_is_openapi_3_1(self) -> None:
        assert DOCUMENT["openapi"].startswith("3.1")
        for schema in DOCUMENT["components"]["schemas"].values():
            Draft202012Validator.check_schema(resolved(schema))

    @pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
    def test_has_examples_that_satisfy_it(self, call: Call) -> None:
        body = operation(call)["requestBody"]["content"]["application/json"]
        check(body["example"], body["schema"])
        assert msgspec.convert(body["example"], call.ask)
        answer = operation(call)["responses"]["200"]["content"]["application/json"]
        check(answer["example"], answer["schema"])
        assert msgspec.convert(answer["example"], call.answer)

    def test_leaves_nothing_undescribed(self) -> None:
        assert gaps(DOCUMENT) == {}

    def test_has_an_example_of_each_problem(self) -> None:
        seen: set[str] = set()
        for status, response in DOCUMENT["components"]["responses"].items():
            content = response["content"]["application/problem+json"]
            for code, example in content["examples"].items():
                check(example["value"], content["schema"])
                assert (example["value"]["code"], example["value"]["status"]) == (code, int(status))
                seen.add(code)
        assert seen == {one.code for one in advice.PROBLEMS}


class TestTheRunningValidator:
    @pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
    async def test_answers_as_it_says(self, panel: Panel, projection: Projection, call: Call) -> None:
        issued = await projection.license()
        token = LeaseRecord(epoch=1, version=1, not_after=unix_time() + 600, token="a.b.c")
        await projection.writer.apply_leases([(issued.hash, token)])
        asked = json.loads(json.dumps(call.example).replace(openapi._KEY, issued.key))
        response = await eventually(lambda: panel.call(call.name, asked), lambda got: got.status_code == 200)
        check_answer(call, response)

    @pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
    async def test_refuses_as_it_says(self, panel: Panel, projection: Projection, call: Call) -> None:
        weak = await projection.api_key(permissions=PERMISSIONS - {call.permission})
        refused = [
            await panel.call(call.name, b"{"),
            await panel.call(call.name, b"x" * 100_000),
            await panel.call(call.name, call.example, api_key=ApiKey("nobody", "x")),
            await panel.call(call.name, call.example, api_key=weak),
        ]
        assert [response.status_code for response in refused] == [400, 413, 401, 403]
        for response in refused:
            check_answer(call, response)

    @pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
    async def test_knows_no_license_by_the_example_s_key(self, panel: Panel, call: Call) -> None:
        response = await panel.call(call.name, call.example)
        assert response.status_code == 200
        check_answer(call, response)

    async def test_serves_every_path_that_it_names(self, client: httpx.AsyncClient) -> None:
        for path, methods in DOCUMENT["paths"].items():
            for method in methods:
                assert (await client.request(method, path)).status_code not in {404, 405}, path
