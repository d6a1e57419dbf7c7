"""Authorization: for every permission and every caller, who is let in, and what a refused caller is told."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, Final
from uuid import UUID

import httpx
import msgspec
import pytest
from litestar import Litestar, Request, get
from litestar.datastructures import State
from litestar.handlers import HTTPRouteHandler
from litestar.middleware import DefineMiddleware

from billing_api.access.permissions import PERMISSIONS, Permission, Principal
from billing_api.access.rate_limits import RateLimiter
from billing_api.access.tokens import TokenIssuer
from billing_api.identity.sessions.liveness import Liveness
from billing_api.identity.sessions.uses import SessionUses
from billing_api.server.guard import Authentication, guard
from billing_api.web import problems
from core.access_store.store import AccessStore
from core.clock import utc_now
from core.ids import new_id
from core.settings import ApiSettings
from db.models.identity import Role
from db.reads import SystemReads
from db.unit_of_work import Database
from tests.support.people import Desk
from tests.support.visitors import browser

TOKENS: Final = TokenIssuer({"k1": bytes(range(32))}, utc_now)
BEARER: Final = 'Bearer realm="nextpanel-billing"'
ANYBODY: Final = {Permission.PUBLIC, Permission.SIGNED}
CUSTOMER: Final = ANYBODY | {
    Permission.OWN_ACCOUNT,
    Permission.OWN_CREDENTIALS,
    Permission.OWN_LICENSES_READ,
    Permission.OWN_USAGE_READ,
    Permission.OWN_SUBSCRIPTIONS_READ,
    Permission.OWN_INVOICES_READ,
    Permission.OWN_PAYMENTS_READ,
    Permission.PURCHASE,
}
VIEWS: Final = {
    Permission.LICENSES_VIEW,
    Permission.OPERATIONS_VIEW,
    Permission.USERS_VIEW,
    Permission.BILLING_VIEW,
    Permission.NOTES_VIEW,
    Permission.NOTES_CHANGE,
}
MAY_PASS: Final[dict[Role | None, set[Permission]]] = {
    None: ANYBODY,
    Role.CUSTOMER: CUSTOMER,
    Role.SUPPORT: CUSTOMER | VIEWS,
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


@asynccontextmanager
async def a_door(
    database: Database, settings: ApiSettings, valkey: str, *, staff_second_factor: bool
) -> AsyncIterator[httpx.AsyncClient]:
    store, uses, reads = AccessStore(valkey), SessionUses(database), SystemReads(settings.database_url)
    api = SimpleNamespace(
        settings=replace(settings, staff_second_factor=staff_second_factor),
        clock=utc_now,
        limits=RateLimiter(store, settings.limits),
        infrastructure=SimpleNamespace(tokens=TOKENS, liveness=Liveness(database, reads, store, uses, utc_now)),
    )
    app = Litestar(
        [*(route(permission) for permission in Permission), only_for_the_recent],
        guards=[guard],
        middleware=[DefineMiddleware(Authentication)],
        exception_handlers=problems.HANDLERS,
        state=State({"api": api}),
        openapi_config=None,
    )
    async with browser(app) as client:
        yield client
    for closed in (store, uses, reads):
        await closed.close()


@pytest.fixture
async def door(database: Database, settings: ApiSettings, valkey: str) -> AsyncIterator[httpx.AsyncClient]:
    async with a_door(database, settings, valkey, staff_second_factor=False) as client:
        yield client


@pytest.fixture
async def stricter_door(database: Database, settings: ApiSettings, valkey: str) -> AsyncIterator[httpx.AsyncClient]:
    """Settings outside of the devstack."""
    async with a_door(database, settings, valkey, staff_second_factor=True) as client:
        yield client


def showing(caller: Principal) -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKENS.issue(caller)}"}


def principal(role: Role, user_id: UUID | None = None) -> Principal:
    user_id = user_id or new_id()
    return Principal(user_id, role, user_id, utc_now())


@pytest.mark.parametrize("permission", Permission)
@pytest.mark.parametrize("role", [None, *Role])
async def test_every_caller_at_every_door(
    door: httpx.AsyncClient, desk: Desk, role: Role | None, permission: Permission
) -> None:
    caller = principal(role, await desk.a_user(role)) if role else None
    headers = showing(caller) if caller else {}
    answer = await door.get(f"/{permission.value}", headers=headers)
    if permission in MAY_PASS[role]:
        assert answer.json() == {"user_id": str(caller.user_id) if caller else None}
    else:
        refused = (401, "unauthenticated") if caller is None else (403, "forbidden")
        assert (answer.status_code, answer.json()["code"]) == refused
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers.get("www-authenticate") == (BEARER if caller is None else None)


@pytest.mark.parametrize("permission", sorted(PERMISSIONS[Role.ADMIN]))
@pytest.mark.parametrize("amr", [("pwd",), ("pwd", "otp")])
async def test_administration_takes_a_second_factor(
    stricter_door: httpx.AsyncClient, desk: Desk, permission: Permission, amr: tuple[str, ...]
) -> None:
    """Nothing else asks for it: a new administrator has to reach the own account to set a factor up."""
    admin = msgspec.structs.replace(principal(Role.ADMIN, await desk.a_user(Role.ADMIN)), amr=amr)
    answer = await stricter_door.get(f"/{permission.value}", headers=showing(admin))
    if permission.value.startswith("admin.") and "otp" not in amr:
        assert (answer.status_code, answer.json()["code"]) == (403, "second_factor_required")
    else:
        assert answer.json() == {"user_id": str(admin.user_id)}


async def test_who_may_not_administrate_hears_of_no_factor(stricter_door: httpx.AsyncClient, desk: Desk) -> None:
    customer = principal(Role.CUSTOMER, await desk.a_user())
    answer = await stricter_door.get("/admin.licenses.view", headers=showing(customer))
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


async def test_a_route_that_asks_for_a_step_up_is_closed_to_older_sign_ins(door: httpx.AsyncClient, desk: Desk) -> None:
    recent = principal(Role.CUSTOMER, await desk.a_user())
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
    assert "auth/login" in answer.json()["detail"]


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_scheme_is_read_without_case(door: httpx.AsyncClient, desk: Desk, scheme: str) -> None:
    caller = principal(Role.CUSTOMER, await desk.a_user())
    answer = await door.get("/own_account", headers={"Authorization": f"{scheme}  {TOKENS.issue(caller)} "})
    assert answer.json() == {"user_id": str(caller.user_id)}


async def test_an_expired_token_is_told_what_to_do(door: httpx.AsyncClient) -> None:
    earlier = TokenIssuer({"k1": bytes(range(32))}, lambda: utc_now() - timedelta(minutes=16))
    stale = earlier.issue(principal(Role.ADMIN))
    answer = await door.get("/own_account", headers={"Authorization": f"Bearer {stale}"})
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, f'{BEARER}, error="invalid_token"')
    assert "auth/refresh" in answer.json()["detail"]
    assert "auth/login" in answer.json()["detail"]


async def test_without_a_token_the_answer_names_the_sign_in(door: httpx.AsyncClient) -> None:
    answer = await door.get("/own_account")
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, BEARER)
    assert "auth/login" in answer.json()["detail"]


async def test_a_good_token_without_a_live_session_opens_nothing_that_is_closed(door: httpx.AsyncClient) -> None:
    headers = {"Authorization": f"Bearer {TOKENS.issue(principal(Role.ADMIN))}"}
    assert (await door.get("/public", headers=headers)).status_code == 200
    refused = await door.get("/own_account", headers=headers)
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, f'{BEARER}, error="invalid_token"')
    assert "sign in again" in refused.json()["detail"]


async def test_a_token_in_the_query_is_not_looked_at(door: httpx.AsyncClient) -> None:
    token = TOKENS.issue(principal(Role.ADMIN))
    answer = await door.get("/own_account", params={"access_token": token, "token": token})
    assert answer.status_code == 401
