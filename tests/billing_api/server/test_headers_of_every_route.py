"""The fixed headers stand on every answer of every route: of a handler, a refusal, a crash, or the fast path.

They are put on where the application takes over the server's `send` (Litestar's `before_send`), outside of all that
answers here, and so also of the usage reports' way past the framework (billing_api/licensing/usage/fast_path.py). That
this stays so is what these tests are for: an application put around the whole, not into it, would answer without them.
"""

import json
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Final
from uuid import UUID

import httpx
import pytest
from litestar import Litestar
from litestar.routes import HTTPRoute

from billing_api.licensing.usage.fast_path import PATH as USAGE
from billing_api.server.app import MAX_BODY_BYTES, create_app
from billing_api.web import swagger
from billing_api.web.security_headers import HSTS, NOTHING
from core.settings import ApiSettings
from db.models.licensing import LicenseType
from tests.billing_api.conftest import FakeTime
from tests.billing_api.licensing.usage.test_fast_path import Panel
from tests.billing_api.licensing.usage.test_usage import an_api_key
from tests.support.people import Desk, Headers
from tests.support.visitors import alive, browser

NOBODYS: Final = str(UUID(int=1))
KEPT_BY_CACHES: Final = {"/api/v1/config": "public, max-age=300", "/api/v1/plans": "no-cache"}
"""Answers of the API that are the same for everybody, and how long caches need not ask for them again."""


@pytest.fixture(scope="module")
async def production(settings: ApiSettings, app_clock: FakeTime) -> AsyncIterator[Litestar]:
    """The headers outside of the devstack, where HSTS is sent as well."""
    async with alive(create_app(replace(settings, environment="production"), app_clock)) as app:
        yield app


@pytest.fixture
async def web(production: Litestar, desk: Desk) -> AsyncIterator[httpx.AsyncClient]:
    async with browser(production) as web:
        yield web


def hold_the_fixed_headers(answer: httpx.Response) -> None:
    path, told = answer.request.url.path, answer.headers
    of_what = f"{answer.request.method} {path} {answer.status_code}"
    for name, value in {
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "strict-transport-security": HSTS,
    }.items():
        assert told.get_list(name) == [value], f"{name} of {of_what}"
    (policy,) = told.get_list("content-security-policy")
    assert "default-src 'none'" in policy, of_what
    assert "frame-ancestors 'none'" in policy, of_what
    if path.startswith("/api/"):
        assert policy == NOTHING, of_what
        kept = KEPT_BY_CACHES.get(path) if answer.status_code == HTTPStatus.OK else None
        assert told.get_list("cache-control") == [kept or "no-store"], of_what


def routes(app: Litestar) -> Iterator[tuple[str, str]]:
    """Every method of every path, with ids that do not exist."""
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            path = re.sub(r"\{[^}]*:str\}", "nothing", re.sub(r"\{[^}]*:uuid\}", NOBODYS, route.path))
            yield from ((method, path) for method in sorted(route.methods))


async def test_they_stand_on_what_strangers_customers_and_staff_are_answered(
    production: Litestar, web: httpx.AsyncClient, desk: Desk
) -> None:
    who: dict[str, Headers] = {"stranger": {}, "customer": await desk.a_customer(), "admin": await desk.staff()}
    statuses = set()
    # Signing out ends the session of the access token that comes with it: last.
    for method, path in sorted(routes(production), key=lambda route: route[1].endswith("/auth/logout")):
        for headers in who.values():
            body: dict[str, Any] | None = {} if method in {"POST", "PATCH", "PUT"} else None
            answer = await web.request(method, path, json=body, headers=headers)
            hold_the_fixed_headers(answer)
            statuses.add(answer.status_code)
    assert {200, 204, 400, 401, 403, 404} <= statuses


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/api/v1/nothing-here", None, 404),
        ("GET", "/nothing-here", None, 404),
        ("DELETE", "/api/v1/plans", None, 405),
        ("GET", USAGE, None, 405),
        ("POST", "/api/v1/auth/login", b"{", 400),
        ("POST", "/api/v1/auth/login", b" " * (MAX_BODY_BYTES + 1), 413),
        ("POST", USAGE, b" " * (MAX_BODY_BYTES + 1), 413),
        *(("GET", path, None, 200) for path in sorted(swagger.PATHS)),
    ],
)
async def test_they_stand_on_what_no_handler_answers(
    web: httpx.AsyncClient, method: str, path: str, body: bytes | None, status: int
) -> None:
    answer = await web.request(method, path, content=body)
    assert answer.status_code == status
    hold_the_fixed_headers(answer)


async def test_they_stand_on_a_preflight(web: httpx.AsyncClient) -> None:
    asked = {"Origin": "http://127.0.0.1:8001", "Access-Control-Request-Method": "POST"}
    answer = await web.options("/api/v1/checkout/sessions", headers=asked)
    assert answer.headers["access-control-allow-origin"] == asked["Origin"]
    hold_the_fixed_headers(answer)


async def test_they_stand_on_a_crash(
    production: Litestar, web: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(production.state.api.services.commerce.plans[None], "_kept")
    answer = await web.get("/api/v1/plans")
    assert answer.status_code == 500
    hold_the_fixed_headers(answer)


async def test_they_stand_on_every_kind_of_answer_to_a_usage_report(web: httpx.AsyncClient, desk: Desk) -> None:
    issued = await desk.a_license(await desk.a_user(), LicenseType.STARTER)
    panel = Panel(web, await an_api_key(desk), issued.key)
    report, many = json.dumps(panel.report).encode(), b'{"items":[{}]}'

    async def sent(body: bytes, key: str, **more: Any) -> httpx.Response:
        answer = await web.post(USAGE, content=body, headers=panel.headers(body, key) | more)
        hold_the_fixed_headers(answer)
        return answer

    first, again = await sent(report, "r-1"), await sent(report, "r-1")
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.headers["idempotency-replayed"] == "true"
    assert (await sent(many, "")).status_code == 200
    assert (await sent(report, "r-2", Origin="https://elsewhere.test")).status_code == 200  # the framework's
    assert (await sent(report, "r-3", **{"NP-Signature": "k=?"})).status_code == 401
    assert (await sent(b"{", "r-4")).status_code == 400
