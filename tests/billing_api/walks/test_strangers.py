"""Fuzzing by the OpenAPI document: every answer is a documented one, and no request causes a crash.

Each operation is called by each kind of user, with valid and invalid data. Each operation gets a new user, because
operations may sign a user out or take a right away. The examples are the same in every run; NP_WALK_EXAMPLES=200 tries
more.
"""

import os
from collections import Counter
from typing import Final

import httpx
import pytest
from schemathesis import GenerationMode
from schemathesis.checks import CheckFunction
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from db.models.identity import Role
from tests.billing_api.conftest import Client
from tests.billing_api.walks.conftest import Operations
from tests.support.people import Desk, Headers
from tests.support.walking import AnyCase, AnyOperation, examples, send

EXAMPLES: Final = int(os.environ.get("NP_WALK_EXAMPLES", "3"))  # noqa: TID251  how far to look
CALLERS: Final = {"nobody": None, "a customer": Role.CUSTOMER, "support": Role.SUPPORT, "an administrator": Role.ADMIN}
CHECKS: Final[list[CheckFunction]] = [
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]


async def somebody(desk: Desk, role: Role | None) -> tuple[Headers, dict[str, str]]:
    """A user with a license, just signed in, and the path parameters of the user's own rows."""
    if role is None:
        return {}, {}
    user_id = await desk.a_user(role)
    issued = await desk.a_license(user_id)
    return desk.signed_in(user_id, role), {"license_id": str(issued.license.id), "user_id": str(user_id)}


def parameters(operation: AnyOperation, own: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in own.items() if f"{{{name}}}" in operation.path}


def faults(case: AnyCase, response: httpx.Response) -> list[str]:
    """A crash, or an undocumented answer. 502 and 503 are no crashes: a partner or a store is unavailable."""
    if response.status_code == 500:
        return ["a crash"]
    try:
        case.validate_response(response, checks=CHECKS)
    except FailureGroup as found:
        return [f"{failure.title}: {failure.message}" for failure in found.exceptions]
    return []


@pytest.mark.timeout(600)  # a walk is long on a busy machine
@pytest.mark.parametrize("mode", GenerationMode, ids=lambda mode: f"{mode.value} data")
async def test_no_answer_is_a_crash_or_one_that_the_document_does_not_foresee(
    client: Client, desk: Desk, operations: Operations, mode: GenerationMode, on_sale: None
) -> None:
    found: dict[str, list[str]] = {}
    statuses: Counter[tuple[str, int]] = Counter()
    for operation in operations:
        cases = examples(operation.as_strategy(generation_mode=mode), EXAMPLES)
        for caller, role in CALLERS.items():
            who, own = await somebody(desk, role)
            for case in cases:
                if mode is GenerationMode.POSITIVE:
                    case.path_parameters.update(parameters(operation, own))
                response = await send(client, case, who)
                statuses[caller, response.status_code] += 1
                if wrong := faults(case, response):
                    asked = f"{caller}: {operation.label} {case.path_parameters} {case.query} {case.body!r}"
                    found[asked] = [*wrong, response.text]
    assert not found, "\n".join(f"{asked}: {wrong}" for asked, wrong in found.items())
    for caller in CALLERS:
        assert statuses[caller, 400] > 10, "nothing was ever wrong with what was sent"
    if mode is GenerationMode.POSITIVE:
        assert statuses["an administrator", 200] > 20, "nothing was ever right"
