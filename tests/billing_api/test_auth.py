"""The door: for every permission and every caller, who is let in; and what a refused one is told."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, Final

import httpx
import pytest
from litestar import Litestar, Request, get
from litestar.datastructures import State
from litestar.handlers import HTTPRouteHandler
from litestar.middleware import DefineMiddleware

from billing_api import problems
from billing_api.access import Permission, Principal, TokenIssuer
from billing_api.auth import Authentication, guard
from core.clock import utc_now
from core.ids import new_id
from db.models.people import Role
from tests.support.visitors import browser

TOKENS: Final = TokenIssuer({"k1": bytes(range(32))}, utc_now)
MAY_PASS: Final[dict[Role | None, set[Permission]]] = {
    None: {Permission.PUBLIC, Permission.SIGNED},
    Role.CUSTOMER: {Permission.PUBLIC, Permission.SIGNED, Permission.OWN_ACCOUNT, Permission.PURCHASE},
    Role.SUPPORT: {
        Permission.PUBLIC,
        Permission.SIGNED,
        Permission.OWN_ACCOUNT,
        Permission.PURCHASE,
        Permission.LICENSES_VIEW,
        Permission.OPERATIONS_VIEW,
    },
    Role.ADMIN: set(Permission),
}


def route(permission: Permission) -> HTTPRouteHandler:
    @get(f"/{permission.value}", permission=permission)
    async def who_is_asking(request: Request[Principal | None, Any, Any]) -> dict[str, str | None]:
        return {"user_id": str(request.user.user_id) if request.user else None}

    return who_is_asking


@pytest.fixture(scope="module")
async def door() -> AsyncIterator[httpx.AsyncClient]:
    app = Litestar(
        [route(permission) for permission in Permission],
        guards=[guard],
        middleware=[DefineMiddleware(Authentication)],
        exception_handlers=problems.HANDLERS,
        state=State({"tokens": TOKENS}),
        openapi_config=None,
    )
    async with browser(app) as client:
        yield client


def principal(role: Role) -> Principal:
    return Principal(new_id(), role, new_id(), utc_now())


@pytest.mark.parametrize("permission", Permission)
@pytest.mark.parametrize("role", [None, *Role])
async def test_every_caller_at_every_door(door: httpx.AsyncClient, role: Role | None, permission: Permission) -> None:
    caller = principal(role) if role else None
    headers = {"Authorization": f"Bearer {TOKENS.issue(caller)}"} if caller else {}
    answer = await door.get(f"/{permission.value}", headers=headers)
    if permission in MAY_PASS[role]:
        assert answer.json() == {"user_id": str(caller.user_id) if caller else None}
    else:
        refused = (401, "unauthenticated") if caller is None else (403, "forbidden")
        assert (answer.status_code, answer.json()["code"]) == refused
        assert answer.headers["content-type"] == "application/problem+json"
        assert ("www-authenticate" in answer.headers) == (caller is None)


@pytest.mark.parametrize(
    "header",
    [
        "Basic YWRhOnNlY3JldA==",
        "Bearer",
        "Bearer ",
        "Bearer garbage",
        "Token abc",
        "",
        "Bearer eyJhbGciOiJub25lIn0.e30.",
    ],
)
async def test_what_is_no_good_token_opens_nothing(door: httpx.AsyncClient, header: str) -> None:
    answer = await door.get("/own_account", headers={"Authorization": header})
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert "garbage" not in answer.text


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_scheme_is_read_without_case(door: httpx.AsyncClient, scheme: str) -> None:
    caller = principal(Role.CUSTOMER)
    answer = await door.get("/own_account", headers={"Authorization": f"{scheme}  {TOKENS.issue(caller)} "})
    assert answer.json() == {"user_id": str(caller.user_id)}


async def test_an_expired_token_is_told_what_to_do(door: httpx.AsyncClient) -> None:
    earlier = TokenIssuer({"k1": bytes(range(32))}, lambda: utc_now() - timedelta(minutes=16))
    stale = earlier.issue(principal(Role.ADMIN))
    answer = await door.get("/own_account", headers={"Authorization": f"Bearer {stale}"})
    assert answer.status_code == 401
    assert "refresh" in answer.json()["detail"]


async def test_a_token_in_the_query_is_not_looked_at(door: httpx.AsyncClient) -> None:
    token = TOKENS.issue(principal(Role.ADMIN))
    answer = await door.get("/own_account", params={"access_token": token, "token": token})
    assert answer.status_code == 401
