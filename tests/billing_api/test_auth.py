"""The door: for every permission and every caller, who is let in; and what a refused one is told."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, Final

import httpx
import msgspec
import pytest
from litestar import Litestar, Request, get
from litestar.datastructures import State
from litestar.handlers import HTTPRouteHandler
from litestar.middleware import DefineMiddleware

from billing_api import problems
from billing_api.access import PERMISSIONS, Permission, Principal, TokenIssuer
from billing_api.auth import Authentication, guard
from core.clock import utc_now
from core.ids import new_id
from db.models.people import Role
from tests.support.visitors import browser

TOKENS: Final = TokenIssuer({"k1": bytes(range(32))}, utc_now)
ANYBODYS: Final = {Permission.PUBLIC, Permission.SIGNED}
CUSTOMERS: Final = ANYBODYS | {
    Permission.OWN_ACCOUNT,
    Permission.OWN_LICENSES_READ,
    Permission.OWN_USAGE_READ,
    Permission.OWN_SUBSCRIPTIONS_READ,
    Permission.OWN_INVOICES_READ,
    Permission.OWN_PAYMENTS_READ,
    Permission.PURCHASE,
}
MAY_PASS: Final[dict[Role | None, set[Permission]]] = {
    None: ANYBODYS,
    Role.CUSTOMER: CUSTOMERS,
    Role.SUPPORT: CUSTOMERS | {Permission.LICENSES_VIEW, Permission.OPERATIONS_VIEW},
    Role.ADMIN: set(Permission),
}


def route(permission: Permission) -> HTTPRouteHandler:
    @get(f"/{permission.value}", permission=permission)
    async def who_is_asking(request: Request[Principal | None, Any, Any]) -> dict[str, str | None]:
        return {"user_id": str(request.user.user_id) if request.user else None}

    return who_is_asking


@get("/recent", permission=Permission.OWN_ACCOUNT, step_up=True)
async def only_for_the_recent() -> str:
    return "recent"


def a_door(*, staff_second_factor: bool) -> Litestar:
    return Litestar(
        [*(route(permission) for permission in Permission), only_for_the_recent],
        guards=[guard],
        middleware=[DefineMiddleware(Authentication)],
        exception_handlers=problems.HANDLERS,
        state=State({"tokens": TOKENS, "clock": utc_now, "staff_second_factor": staff_second_factor}),
        openapi_config=None,
    )


@pytest.fixture(scope="module")
async def door() -> AsyncIterator[httpx.AsyncClient]:
    async with browser(a_door(staff_second_factor=False)) as client:
        yield client


@pytest.fixture(scope="module")
async def stricter_door() -> AsyncIterator[httpx.AsyncClient]:
    """Outside of the devstack."""
    async with browser(a_door(staff_second_factor=True)) as client:
        yield client


def showing(caller: Principal) -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKENS.issue(caller)}"}


def principal(role: Role) -> Principal:
    return Principal(new_id(), role, new_id(), utc_now())


@pytest.mark.parametrize("permission", Permission)
@pytest.mark.parametrize("role", [None, *Role])
async def test_every_caller_at_every_door(door: httpx.AsyncClient, role: Role | None, permission: Permission) -> None:
    caller = principal(role) if role else None
    headers = showing(caller) if caller else {}
    answer = await door.get(f"/{permission.value}", headers=headers)
    if permission in MAY_PASS[role]:
        assert answer.json() == {"user_id": str(caller.user_id) if caller else None}
    else:
        refused = (401, "unauthenticated") if caller is None else (403, "forbidden")
        assert (answer.status_code, answer.json()["code"]) == refused
        assert answer.headers["content-type"] == "application/problem+json"
        assert ("www-authenticate" in answer.headers) == (caller is None)


@pytest.mark.parametrize("permission", sorted(PERMISSIONS[Role.ADMIN]))
@pytest.mark.parametrize("amr", [("pwd",), ("pwd", "otp")])
async def test_administration_takes_a_second_factor(
    stricter_door: httpx.AsyncClient, permission: Permission, amr: tuple[str, ...]
) -> None:
    """And nothing else does: a new administrator has to get at his account to set one up."""
    admin = msgspec.structs.replace(principal(Role.ADMIN), amr=amr)
    answer = await stricter_door.get(f"/{permission.value}", headers=showing(admin))
    if permission.value.startswith("admin.") and "otp" not in amr:
        assert (answer.status_code, answer.json()["code"]) == (403, "second_factor_required")
    else:
        assert answer.json() == {"user_id": str(admin.user_id)}


async def test_who_may_not_administrate_hears_of_no_factor(stricter_door: httpx.AsyncClient) -> None:
    answer = await stricter_door.get("/admin.licenses.view", headers=showing(principal(Role.CUSTOMER)))
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


async def test_a_route_that_asks_for_a_step_up_is_closed_to_older_sign_ins(door: httpx.AsyncClient) -> None:
    recent = principal(Role.CUSTOMER)
    older = msgspec.structs.replace(recent, authenticated_at=utc_now() - timedelta(minutes=5, seconds=1))
    assert (await door.get("/recent", headers=showing(recent))).status_code == 200
    answer = await door.get("/recent", headers=showing(older))
    assert (answer.status_code, answer.json()["code"]) == (403, "step_up_required")
    assert (await door.get("/own_account", headers=showing(older))).status_code == 200


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
