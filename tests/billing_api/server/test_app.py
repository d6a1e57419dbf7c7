"""Rules of every route: a declared permission, errors in one form, no input that crashes it."""

import importlib
import json
import pkgutil
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from litestar import Controller, Litestar, get
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute
from litestar.testing import RequestFactory
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

import billing_api
from billing_api.access.permissions import Permission, Principal
from billing_api.server.app import MAX_BODY_BYTES, _once, require_permissions
from billing_api.server.guard import needs_step_up
from billing_api.web import problems
from core.clock import utc_now
from core.ids import new_id
from db.models.identity import Role
from db.unit_of_work import Database
from tests.billing_api.conftest import Client
from tests.support.people import Desk

OPEN = {
    "/.well-known/jwks.json",
    "/api/v1/auth/email/confirm",
    "/api/v1/auth/email/undo",
    "/api/v1/auth/login",
    "/api/v1/auth/logout",
    "/api/v1/auth/password/forgot",
    "/api/v1/auth/password/reset",
    "/api/v1/auth/refresh",
    "/api/v1/auth/register",
    "/api/v1/auth/verify-email",
    "/api/v1/nextpanel/activate",  # guarded by its token
    "/api/v1/auth/mfa",
    "/api/v1/oauth/token",
    "/api/v1/config",
    "/api/v1/plans",
    "/checkout/return",
    "/confirm-email",
    "/health/dependencies",
    "/health/live",
    "/health/ready",
    "/licenses/{license_id:uuid}",
    "/problems/{code:str}",
    "/reset-password",
    "/undo-email-change",
    "/verify-email",
}
SIGNED = {"/api/v1/billing/usage", "/api/v1/webhooks/stripe"}


STEP_UP = {
    ("DELETE", "/api/v1/me"),
    ("DELETE", "/api/v1/me/mfa/totp"),
    ("GET", "/api/v1/me/export"),
    ("PATCH", "/api/v1/admin/platform-keys/{api_key_id:uuid}"),
    ("POST", "/api/v1/admin/payments/{payment_id:uuid}/refund"),
    ("POST", "/api/v1/admin/subscriptions/{subscription_id:uuid}/cancel"),
    ("POST", "/api/v1/admin/invoices/{invoice_id:uuid}/credit-note"),
    ("POST", "/api/v1/admin/invoices/{invoice_id:uuid}/mark-uncollectible"),
    ("POST", "/api/v1/admin/invoices/{invoice_id:uuid}/retry"),
    ("POST", "/api/v1/admin/invoices/{invoice_id:uuid}/void"),
    ("POST", "/api/v1/admin/users/{user_id:uuid}/balance"),
    ("POST", "/api/v1/admin/platform-keys"),
    ("POST", "/api/v1/admin/platform-keys/{api_key_id:uuid}/rotate"),
    ("PATCH", "/api/v1/admin/service-accounts/{service_account_id:uuid}"),
    ("POST", "/api/v1/admin/service-accounts"),
    ("POST", "/api/v1/admin/service-accounts/{service_account_id:uuid}/rotate"),
    ("POST", "/api/v1/admin/users/{user_id:uuid}/role"),
    ("POST", "/api/v1/api-keys/{api_key_id:uuid}/rotate"),
    ("POST", "/api/v1/licenses/{license_id:uuid}/api-keys"),
    ("POST", "/api/v1/licenses/{license_id:uuid}/reveal-key"),
    ("POST", "/api/v1/licenses/{license_id:uuid}/rotate-key"),
    ("POST", "/api/v1/me/mfa/recovery-codes"),
    ("POST", "/api/v1/me/mfa/totp"),
    ("POST", "/api/v1/me/oauth-clients"),
    ("POST", "/api/v1/me/oauth-clients/{client_id:uuid}/rotate"),
}
MUST_STEP_UP = re.compile(
    r"POST .*/(reveal-key|(api|platform)-keys|rotate|rotate-key|refunds?|oauth-clients|service-accounts)"
    r"|(POST|PUT|PATCH) .*/roles?|DELETE .*/mfa/.*|DELETE .*/me|GET .*/export"
)
"""What shows or makes a secret, gives power or gives money back, by how such routes are named."""


def handlers(app: Litestar) -> Iterator[tuple[str, HTTPRouteHandler]]:
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            yield from (
                (route.path, handler) for handler in route.route_handlers if "OPTIONS" not in handler.http_methods
            )


def concrete(path: str) -> str:
    """The path with ids that do not exist."""
    return "/".join("0" * 32 if ":uuid}" in part else "1" if ":int}" in part else part for part in path.split("/"))


def test_routes_without_a_permission(app: Litestar) -> None:
    assert [path for path, handler in handlers(app) if "permission" not in handler.opt] == []


def test_what_is_open_to_anybody_is_on_this_list(app: Litestar) -> None:
    found = {path for path, handler in handlers(app) if handler.opt["permission"] is Permission.PUBLIC}
    assert {path for path in found if not path.startswith("/schema")} == OPEN
    assert {path for path, handler in handlers(app) if handler.opt["permission"] is Permission.SIGNED} == SIGNED


def test_what_asks_for_a_recent_sign_in_is_on_this_list(app: Litestar) -> None:
    routes = [(method, path, handler) for path, handler in handlers(app) for method in handler.http_methods]
    assert {(method, path) for method, path, handler in routes if needs_step_up(handler)} == STEP_UP
    by_name = {(method, path) for method, path, _ in routes if MUST_STEP_UP.fullmatch(f"{method} {path}")}
    assert by_name - STEP_UP == set()


def test_an_application_with_an_undeclared_route_does_not_start() -> None:
    @get("/forgotten")
    async def forgotten() -> str:
        return "open to all"

    with pytest.raises(RuntimeError, match="/forgotten declares no permission"):
        require_permissions(Litestar([forgotten], openapi_config=None))


def written(module: ModuleType) -> Iterator[str]:
    """The handlers of a module, those of its controllers included."""
    for one in vars(module).values():
        if isinstance(one, HTTPRouteHandler):
            yield name_of(one)
        elif isinstance(one, type) and issubclass(one, Controller):
            yield from (name_of(each) for each in vars(one).values() if isinstance(each, HTTPRouteHandler))


def name_of(handler: HTTPRouteHandler) -> str:
    """The name of the written function, because the application binds those of controllers."""
    fn: Any = handler.fn
    fn = getattr(fn, "func", fn)
    return f"{fn.__module__}.{fn.__qualname__}"


def test_every_handler_that_is_written_is_reached_through_the_application(app: Litestar) -> None:
    served = {name_of(handler) for _, handler in handlers(app)}
    names = [module.name for module in pkgutil.walk_packages(billing_api.__path__, "billing_api.")]
    modules = [importlib.import_module(name) for name in names if not name.endswith("__main__")]
    found = {name for module in modules for name in written(module)}
    assert len(found) > 80
    assert found - served == set()


async def test_head_is_answered_as_get_without_the_body(app: Litestar, client: Client, desk: Desk) -> None:
    """Uptime monitors send such requests."""
    admin, seen = await desk.staff(), set()
    for path, handler in handlers(app):
        if "GET" not in handler.http_methods:
            continue
        get, head = [await client.request(method, concrete(path), headers=admin) for method in ("GET", "HEAD")]
        assert (head.status_code, head.content) == (get.status_code, b""), path
        changing = {"x-request-id", "ratelimit", "content-length", "set-cookie", "etag"}
        assert {name: head.headers[name] for name in get.headers if name not in changing} == {
            name: value for name, value in get.headers.items() if name not in changing
        }, path
        seen.add(head.status_code)
    assert {200, 400, 404} <= seen


async def test_head_of_what_takes_no_get_is_refused_as_a_get_is(client: Client) -> None:
    answer = await client.head("/api/v1/billing/usage")
    assert (answer.status_code, answer.content) == (405, b"")
    assert "POST" in answer.headers["allow"]
    listed = await client.patch("/api/v1/plans")
    assert {"GET", "HEAD"} <= set(listed.headers["allow"].split(", "))


async def test_every_closed_route_turns_a_stranger_away(app: Litestar, client: Client) -> None:
    closed = [(path, handler) for path, handler in handlers(app) if path not in OPEN | SIGNED and "/schema" not in path]
    assert len(closed) > 20
    for path, handler in closed:
        for method in handler.http_methods:
            answer = await client.request(method, concrete(path), json={})
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated"), (method, path)


async def test_options_tells_the_methods_of_any_path(app: Litestar, client: Client) -> None:
    for path in {path for path, _ in handlers(app)}:
        answer = await client.options(concrete(path))
        assert answer.status_code == 204, (path, answer.text)
        assert "OPTIONS" in answer.headers["allow"]


UNFIT = ("%00", "a%00b", "%ED%A0%80", "%FF", "9" * 30, "-" + "9" * 30, "9999-12-31T23:59:59-14:00")
"""What is no value of PostgreSQL's, or none of its numbers and instants."""


@pytest.mark.parametrize("value", UNFIT)
async def test_bad_queries_and_numbers_are_no_crash(app: Litestar, client: Client, desk: Desk, value: str) -> None:
    admin = await desk.staff()
    asked = [path for path, handler in handlers(app) if path.startswith("/api/") and "GET" in handler.http_methods]
    names = (
        "email",
        "event_type",
        "status",
        "state",
        "provisioning",
        "overage",
        "processed",
        "limit",
        "offset",
        "since",
        "action",
    )
    for path in asked:
        for name in names:
            answer = await client.get(f"{concrete(path)}?{name}={value}", headers=admin)
            assert answer.status_code < 500, (path, name, answer.text)


@pytest.mark.parametrize("query", ["licenses?email=%00", "webhook-events?event_type=a%00b"])
async def test_a_nul_is_no_search(client: Client, desk: Desk, query: str) -> None:
    answer = await client.get(f"/api/v1/admin/{query}", headers=await desk.staff())
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_input")


async def test_other_failures_of_statements_stay_crashes(database: Database) -> None:
    async with database.as_system() as tx:
        with pytest.raises(DBAPIError) as missing:
            await tx.session.execute(text("SELECT nothing FROM nowhere"))
    assert problems.statement_failed(RequestFactory().get("/"), missing.value).status_code == 500


@pytest.mark.parametrize(
    "statement",
    [
        "DO $$ BEGIN RESET ROLE; PERFORM pg_terminate_backend(pg_backend_pid()); END $$",
        "DO $$ BEGIN RAISE 'the database system is starting up' USING ERRCODE = 'cannot_connect_now'; END $$",
    ],
)
async def test_a_server_that_goes_or_comes_is_away_and_proves_nothing(database: Database, statement: str) -> None:
    with pytest.raises(DBAPIError) as broken:
        async with database.as_system() as tx:
            await tx.session.execute(text(statement))
    answer = problems.statement_failed(RequestFactory().get("/"), broken.value)
    assert (answer.status_code, answer.content.conclusive) == (503, False)
    assert answer.headers["Retry-After"]


async def test_a_key_for_one_thing_is_no_key_for_another(app: Litestar) -> None:
    principal = Principal(new_id(), Role.CUSTOMER, new_id(), utc_now())
    asked = RequestFactory(app=app)
    scopes = []
    for path in ("/api/v1/things/1", "/api/v1/things/2", "/api/v1/things/2"):
        request = asked.post(path, headers={"Idempotency-Key": "once"}, user=principal)
        request.scope["path_template"] = "/api/v1/things/{id}"
        request.scope["path_params"] = {"id": path.rpartition("/")[2]}
        scopes.append((await _once(request))._scope)
    assert scopes[0] != scopes[1] == scopes[2]


BAD_BODIES: dict[str, bytes] = {
    "empty": b"",
    "cut off": b'{"email":',
    "a list": b"[]",
    "null": b"null",
    "a number": b"7",
    "no utf-8": b"\xff\xfe",
    "wrong types": b'{"email":1,"password":[],"full_name":{},"plan_id":7,"interval":null,"reason":[],"license_key":0}',
    "unknown fields": json.dumps({"surprise": True}).encode(),
    "deep": b"[" * 5000 + b"]" * 5000,
    "a lone surrogate": b'{"email":"\\ud800@example.com","password":"long enough 1","reason":"\\udfff"}',
    "nul": b'{"email":"a\\u0000@example.com","password":"long enough 1","full_name":"x"}',
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES.keys())
async def test_bad_bodies_are_4xx_everywhere(app: Litestar, client: Client, desk: Desk, body: bytes) -> None:
    admin = await desk.staff() | {"Content-Type": "application/json"}
    for path, handler in handlers(app):
        if not handler.http_methods & {"POST", "PATCH", "PUT"} or handler.parsed_data_field is None:
            continue
        for method in handler.http_methods:
            answer = await client.request(method, concrete(path), content=body, headers=admin)
            assert 400 <= answer.status_code < 500, (path, answer.status_code, answer.text)
            assert answer.headers["content-type"] == "application/problem+json"


async def test_a_huge_body_is_refused(client: Client, desk: Desk) -> None:
    admin = await desk.staff()
    answer = await client.post("/api/v1/admin/licenses", content=b"x" * (MAX_BODY_BYTES + 1), headers=admin)
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


async def test_a_field_that_does_not_fit_is_named(client: Client, desk: Desk) -> None:
    admin = await desk.staff()
    order: dict[str, Any] = {"email": "a@example.com", "plan": 7}
    problem = (await client.post("/api/v1/admin/licenses", json=order, headers=admin)).json()
    assert problem["errors"][0]["field"] == "plan"
    assert problem["request_id"]


async def test_unknown_paths_and_methods_are_problems_too(client: Client) -> None:
    missing = await client.get("/api/v1/nothing")
    assert (missing.status_code, missing.json()["code"]) == (404, "route_not_found")
    wrong = await client.delete("/api/v1/plans")
    assert (wrong.status_code, wrong.json()["code"]) == (405, "method_not_allowed")
    assert "GET" in wrong.headers["allow"]


async def test_a_request_id_is_taken_over_or_made(client: Client) -> None:
    assert (await client.get("/health/live", headers={"X-Request-Id": "proxy-1234"})).headers[
        "x-request-id"
    ] == "proxy-1234"
    made = (await client.get("/health/live", headers={"X-Request-Id": "bad id\t"})).headers["x-request-id"]
    assert len(made) == 32


async def test_the_interface_describes_itself(client: Client) -> None:
    schema = (await client.get("/schema/openapi.json")).json()
    assert schema["openapi"].startswith("3.1")
    assert {"/api/v1/checkout/sessions", "/api/v1/licenses", "/api/v1/billing/usage"} <= set(schema["paths"])
    shared = schema["components"]["responses"]
    answers = schema["paths"]["/api/v1/checkout/sessions"]["post"]["responses"]
    assert {"201", "400", "401", "403", "409", "422", "502", "503"} <= set(answers)
    assert shared[_name(answers["422"])]["content"]["application/problem+json"]["examples"]
    refusals = schema["paths"]["/api/v1/licenses/{license_id}/reveal-key"]["post"]["responses"]["403"]
    examples = shared[_name(refusals)]["content"]["application/problem+json"]["examples"]
    assert [example["value"]["code"] for example in examples.values()] == ["step_up_required", "forbidden"]


def _name(reference: dict[str, str]) -> str:
    return reference["$ref"].removeprefix("#/components/responses/")
