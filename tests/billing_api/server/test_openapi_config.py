"""The OpenAPI document as a product: names for generated clients, what authenticates a call, tags in an order."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from litestar import get

from billing_api.access.permissions import Scope
from billing_api.server.openapi_config import TAGS, require_names
from tests.billing_api.conftest import Client

METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture
async def document(client: Client) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads((await client.get("/schema/openapi.json")).content)
    return answer


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        yield from ((f"{method.upper()} {path}", each) for method, each in methods.items() if method in METHODS)


async def test_operation_ids_are_names_for_methods(document: dict[str, Any]) -> None:
    ids = [each["operationId"] for _, each in operations(document)]
    assert len(ids) == len(set(ids))
    assert not [each for each in ids if not re.fullmatch(r"[a-z]+([A-Z][a-z]*)*", each)]
    assert {"listLicenses", "reportUsage", "startCheckout"} <= set(ids)


async def test_two_handlers_of_one_name_keep_the_application_from_starting() -> None:
    @get("/a")
    async def twice() -> str:
        return ""

    with pytest.raises(RuntimeError, match="called twice"):
        require_names([("/api/v1/a", twice), ("/api/v1/b", twice)])


async def test_every_operation_says_what_authenticates_it(document: dict[str, Any]) -> None:
    security = {label: each.get("security", []) for label, each in operations(document) if " /api/" in label}
    assert security["GET /api/v1/licenses"] == [{"accessToken": []}, {"oauthClient": ["licenses:read"]}]
    assert security["POST /api/v1/billing/usage"] == [{"signature": []}]
    assert security["POST /api/v1/admin/licenses"] == [{"accessToken": []}, {"serviceAccount": ["licenses:write"]}]
    open_ones = {label for label, needed in security.items() if not needed}
    assert not {label for label in open_ones if "/admin/" in label or "/me" in label}
    schemes = document["components"]["securitySchemes"]
    assert {name for needed in security.values() for each in needed for name in each} == schemes.keys()
    assert schemes["oauthClient"]["flows"]["clientCredentials"]["scopes"].keys() == {scope.value for scope in Scope}


async def test_every_tag_has_its_place_and_a_text(document: dict[str, Any]) -> None:
    used = {tag for _, each in operations(document) for tag in each["tags"]}
    assert used == TAGS.keys()
    assert [(tag["name"], tag["description"]) for tag in document["tags"]] == list(TAGS.items())


async def test_orders_that_may_be_repeated_take_a_key(document: dict[str, Any]) -> None:
    keyed = {
        label
        for label, each in operations(document)
        if any(parameter["name"] == "Idempotency-Key" for parameter in each.get("parameters", ()))
    }
    assert {"POST /api/v1/checkout/sessions", "POST /api/v1/licenses/{license_id}/api-keys"} <= keyed
    assert {"POST /api/v1/billing/usage", "POST /api/v1/nextpanel/activate"} <= keyed, "these read it themselves"


async def test_no_parameter_may_be_null(document: dict[str, Any]) -> None:
    """A parameter is there or not: nobody can send null in a URL."""
    for label, each in operations(document):
        assert '"null"' not in json.dumps([one["schema"] for one in each.get("parameters", ())]), label
