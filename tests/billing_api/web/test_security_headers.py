"""Security headers: what every answer carries, and which pages bring a policy of their own."""

import base64
import hashlib
import re
from typing import Final

import pytest

from billing_api.server.app import EXPOSED_HEADERS
from billing_api.web.security_headers import HSTS, NOTHING, answer_headers
from tests.billing_api.conftest import Client
from tests.support.people import Desk

PORTAL: Final = "http://127.0.0.1:8001"
"""The API's own public address, which is always listed."""

ANSWERS: Final = {
    "data": ("GET", "/api/v1/plans", 200),
    "refused": ("GET", "/api/v1/me", 401),
    "invalid": ("POST", "/api/v1/auth/login", 400),
    "no such path": ("GET", "/api/v1/nothing", 404),
    "wrong method": ("DELETE", "/api/v1/plans", 405),
    "health": ("GET", "/health/live", 200),
    "options": ("OPTIONS", "/api/v1/me", 204),
}


@pytest.mark.parametrize(("method", "path", "status"), ANSWERS.values(), ids=ANSWERS.keys())
async def test_every_answer_is_data_and_nothing_else(client: Client, method: str, path: str, status: int) -> None:
    answer = await client.request(method, path, json={} if method == "POST" else None)
    assert answer.status_code == status
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["content-security-policy"] == NOTHING
    assert ("cache-control" in answer.headers) == path.startswith("/api/")


async def test_nothing_of_the_api_is_kept(client: Client, desk: Desk) -> None:
    answer = await client.get("/api/v1/me", headers=await desk.a_customer())
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["/checkout/return?session_id=" + "0" * 32, "/verify-email?token=x"])
async def test_pages_bring_their_own_policy(client: Client, path: str) -> None:
    answer = await client.get(path)
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    if answer.status_code == 200:
        assert "style-src 'unsafe-inline'" in answer.headers["content-security-policy"]
        assert "script-src" not in answer.headers["content-security-policy"]


async def test_outside_of_the_devstack_browsers_insist_on_tls(client: Client) -> None:
    assert "strict-transport-security" not in (await client.get("/health/live")).headers
    message = {"type": "http.response.start", "status": 200, "headers": []}
    await answer_headers("production")(message, {"path": "/health/live", "state": {}})  # type: ignore[arg-type, misc]  # what it reads of them
    assert (b"strict-transport-security", HSTS.encode()) in message["headers"]  # type: ignore[operator]


async def test_the_description_runs_only_the_scripts_that_it_names(client: Client) -> None:
    answer = await client.get("/schema/swagger")
    policy, page = answer.headers["content-security-policy"], answer.text
    assert answer.status_code == 200
    (inline,) = re.findall(r"<script>(.+?)</script>", page)
    assert f"'sha256-{base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()}'" in policy
    tags = re.findall(r"<(?:script src|link rel=\"stylesheet\")[^>]*>", page)
    assert len(tags) == 2
    for tag in tags:
        (address,) = re.findall(r"(?:src|href)=\"([^\"]+)\"", tag)
        (integrity,) = re.findall(r"integrity=\"sha384-([A-Za-z0-9+/]{64})\"", tag)
        file = await client.get(address)
        assert file.status_code == 200
        assert base64.b64encode(hashlib.sha384(file.content).digest()).decode() == integrity
        assert file.headers["content-type"].startswith(("text/javascript", "text/css"))
        assert "immutable" in file.headers["cache-control"]
    assert "'unsafe-inline'" not in re.findall(r"script-src[^;]*", policy)[0]
    assert "connect-src 'self'" in policy


async def test_the_page_of_the_description_names_no_other_host(client: Client) -> None:
    answer = await client.get("/schema/swagger")
    for text in (answer.text, answer.headers["content-security-policy"]):
        assert not re.findall(r"https?:|[\"' ]//", text)
    assert "validatorUrl: null" in answer.text
    style = await client.get(*re.findall(r'href="(/schema/assets[^"]+)"', answer.text))
    assert not re.findall(r"@import|url\((?!\"?data:)", style.text)


@pytest.mark.parametrize("path", ["5.35.0/LICENSE", "0.0.0/swagger-ui.css", "5.35.0/..%2Fswagger.py"])
async def test_no_other_file_is_served(client: Client, path: str) -> None:
    assert (await client.get(f"/schema/assets/{path}")).status_code == 404


async def test_the_description_is_where_the_page_looks_for_it(client: Client) -> None:
    page = (await client.get("/schema/swagger")).text
    (url,) = re.findall(r"url: '([^']+)'", page)
    assert (await client.get(url)).json()["openapi"].startswith("3.1")


async def test_a_listed_origin_may_call_and_read_the_headers_that_matter(client: Client) -> None:
    asked = {
        "Origin": PORTAL,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    allowed = await client.options("/api/v1/checkout/sessions", headers=asked)
    assert allowed.headers["access-control-allow-origin"] == PORTAL
    assert allowed.headers["access-control-allow-credentials"] == "true"
    answer = await client.get("/api/v1/plans", headers={"Origin": PORTAL})
    assert answer.headers["access-control-allow-origin"] == PORTAL
    exposed = answer.headers["access-control-expose-headers"]
    assert {name.strip() for name in exposed.split(",")} == set(EXPOSED_HEADERS)


@pytest.mark.parametrize("origin", ["https://evil.example", "null", f"{PORTAL}.evil.example", "http://127.0.0.1"])
async def test_another_origin_may_not(client: Client, origin: str) -> None:
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    for answer in (
        await client.options("/api/v1/checkout/sessions", headers=asked),
        await client.get("/api/v1/plans", headers={"Origin": origin}),
    ):
        assert answer.headers.get("access-control-allow-origin") not in {origin, "*"}
