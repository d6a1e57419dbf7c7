"""Sign-in: what the right password gives, and how little a wrong one shows."""

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from http.cookies import SimpleCookie
from typing import Any

import httpx
import pytest
from argon2 import PasswordHasher
from litestar import Litestar
from sqlalchemy import text

from billing_api.access.tokens import TokenIssuer
from billing_api.identity.sessions.cookies import RefreshCookie
from billing_api.server.app import create_app
from core.settings import ApiSettings, api_settings
from db.models.identity import Role
from devstack.choices import Choices
from devstack.keyring import Keyring
from devstack.parts import Part
from devstack.stack import THE_STACK
from tests.support.databases import as_owner, change, rows, until_blocked
from tests.support.environment import environment
from tests.support.servers import DatabaseUrls
from tests.support.visitors import PASSWORD, Visitor, alive, browser

Visitors = Callable[..., Visitor]


def set_cookie(answer: httpx.Response) -> Any:
    (cookie,) = (
        cookie
        for header in answer.headers.get_list("set-cookie")
        for cookie in SimpleCookie(header).values()
        if cookie.key == "np_refresh"
    )
    return cookie


async def test_the_right_password_gets_both_tokens(ada: Visitor, settings: ApiSettings, clock: Any) -> None:
    granted = await ada.login()
    assert granted.status_code == 200
    assert granted.headers["cache-control"] == "no-store"
    body = granted.json()
    assert body.keys() == {"access_token", "token_type", "expires_in"}
    assert (body["token_type"], body["expires_in"]) == ("Bearer", 900)
    principal = TokenIssuer(settings.jwt_keys, clock).read(body["access_token"])
    assert principal.role is Role.CUSTOMER
    assert abs(principal.authenticated_at - clock()) < timedelta(seconds=1)


async def test_the_refresh_token_is_out_of_reach_of_scripts_and_other_routes(ada: Visitor) -> None:
    cookie = set_cookie(await ada.login())
    assert cookie.key == "np_refresh"
    assert (cookie["path"], cookie["max-age"], cookie["samesite"]) == ("/api/v1/auth", str(7 * 86400), "strict")
    assert cookie["httponly"] is True
    assert cookie["domain"] == "", "it goes back to the host that set it and to no sibling"
    assert not cookie["secure"], "the devstack is served without TLS"


def test_the_cookie_is_secure_everywhere_but_in_the_devstack(database_urls: DatabaseUrls) -> None:
    variables = environment(database_urls, redis_url="redis://127.0.0.1:1", NP_ENVIRONMENT="production")
    assert RefreshCookie.configured(api_settings(variables)).holding("token").secure


async def test_a_session_is_recorded_without_its_token(ada: Visitor, database_urls: DatabaseUrls, clock: Any) -> None:
    ada.web.headers["User-Agent"] = "Mozilla/5.0 " + "x" * 500
    await ada.login()
    (session,) = await rows(database_urls, "SELECT * FROM sessions")
    assert session["user_agent"] == ("Mozilla/5.0 " + "x" * 500)[:200]
    assert session["authenticated_at"] == session["rotated_at"] == clock()
    assert session["expires_at"] == clock() + timedelta(days=7)
    assert ada.cookie is not None
    assert ada.cookie.encode() not in session["refresh_hash"]
    assert session["previous_hash"] is session["revoked_at"] is None


async def test_each_sign_in_is_a_session_of_its_own(ada: Visitor, visitors: Visitors) -> None:
    phone = visitors(ada.email)
    await ada.login()
    await phone.login()
    assert ada.cookie != phone.cookie
    assert (await phone.logout()).status_code == 204
    assert (await ada.refresh()).status_code == 200


async def test_a_wrong_password_and_an_unknown_user_get_one_answer(ada: Visitor, visitors: Visitors) -> None:
    unproved, unknown, absurd = visitors(), visitors(), visitors("no address at all\x00")
    await unproved.register()
    answers = [
        await ada.login("not her password"),
        await unproved.login("not the password"),
        await unknown.login(),
        await absurd.login(),
        await ada.login(""),
        await ada.login(PASSWORD + "\x00"),
    ]
    problems = [answer.json() | {"request_id": ""} for answer in answers]
    assert {answer.status_code for answer in answers} == {401}
    assert all(problem == problems[0] for problem in problems)
    assert problems[0]["code"] == "invalid_credentials"
    assert not any("set-cookie" in answer.headers for answer in answers)


async def test_only_the_right_password_hears_that_the_address_is_unproved(visitor: Visitor) -> None:
    await visitor.register()
    assert (await visitor.login("not the password")).json()["code"] == "invalid_credentials"
    right = await visitor.login()
    assert (right.status_code, right.json()["code"]) == (403, "email_not_verified")
    assert "set-cookie" not in right.headers


async def test_only_the_right_password_hears_of_a_suspension(ada: Visitor, database_urls: DatabaseUrls) -> None:
    await change(database_urls, "UPDATE users SET is_active = false")
    assert (await ada.login("not her password")).json()["code"] == "invalid_credentials"
    right = await ada.login()
    assert (right.status_code, right.json()["code"]) == (403, "forbidden")
    assert await rows(database_urls, "SELECT id FROM sessions") == []


@pytest.mark.parametrize(
    ("meanwhile", "code"), [("is_active = false", "forbidden"), ("password_hash = 'changed'", "invalid_credentials")]
)
async def test_a_sign_in_does_not_slip_past_what_happens_while_it_hashes(
    ada: Visitor, database_urls: DatabaseUrls, meanwhile: str, code: str
) -> None:
    async with as_owner(database_urls) as owner:
        await owner.execute(text("SELECT 1 FROM users FOR UPDATE"))
        signing_in = asyncio.create_task(ada.login())
        await until_blocked(database_urls)
        await owner.execute(text(f"UPDATE users SET {meanwhile}"))
    assert (await signing_in).json()["code"] == code
    assert await rows(database_urls, "SELECT id FROM sessions") == []


async def test_a_hash_of_older_costs_is_made_anew(ada: Visitor, database_urls: DatabaseUrls) -> None:
    cheap = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(PASSWORD)
    await change(database_urls, "UPDATE users SET password_hash = :cheap", cheap=cheap)
    assert (await ada.login("not her password")).status_code == 401
    assert await rows(database_urls, "SELECT password_hash FROM users") == [{"password_hash": cheap}]
    assert (await ada.login()).status_code == 200
    (after,) = await rows(database_urls, "SELECT password_hash FROM users")
    assert after["password_hash"].startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert (await ada.login()).status_code == 200
    assert await rows(database_urls, "SELECT password_hash FROM users") == [after]


@pytest.mark.parametrize("stored", ["", "unused", "$argon2id$garbage", "plain password"])
async def test_an_unreadable_hash_lets_nobody_in(ada: Visitor, database_urls: DatabaseUrls, stored: str) -> None:
    await change(database_urls, "UPDATE users SET password_hash = :stored", stored=stored)
    for guess in (PASSWORD, stored):
        assert (await ada.login(guess)).json()["code"] == "invalid_credentials"


@pytest.mark.parametrize(
    "email", ["' OR '1'='1' --", "ada@example.com' --", '{"$ne": null}', "%", "_@example.com", "%@example.com", "*"]
)
async def test_an_address_is_compared_and_never_interpreted(ada: Visitor, visitors: Visitors, email: str) -> None:
    refused = await visitors(email).login()
    assert (refused.status_code, refused.json()["code"]) == (401, "invalid_credentials")


@pytest.mark.parametrize(
    "body",
    [
        {"email": "a@example.com"},
        {"email": "a@example.com", "password": None},
        {"email": {"$gt": ""}, "password": "x"},
        {"email": ["a@example.com"], "password": "x"},
        {"email": "a@example.com", "password": "x", "remember": True},
        {"email": "a@example.com", "password": "x" * 1001},
    ],
)
async def test_credentials_of_a_wrong_shape_are_refused(visitor: Visitor, body: Any) -> None:
    refused = await visitor.post("login", body)
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_input")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://127.0.0.1:8001", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "http://127.0.0.1:8001"}, 200),
        ({"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:8001.evil.example"}, 403),
        ({"Origin": "https://127.0.0.1:8001"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),
        ({"Origin": "http://127.0.0.1:8001", "Sec-Fetch-Site": "same-site"}, 200),
        ({"Origin": "http://shop.127.0.0.1:8001", "Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1:8001"}, 403),
    ],
)
async def test_another_sites_page_uses_none_of_the_cookie_routes(
    ada: Visitor, headers: dict[str, str], status: int
) -> None:
    """Another site must not sign its victim in to the attacker's account either."""
    await ada.login()
    held = ada.cookie
    refreshed = await ada.refresh(**headers)
    assert refreshed.status_code == status
    assert (ada.cookie == held) == (status == 403)
    credentials = {"email": ada.email, "password": PASSWORD}
    assert (await ada.post("login", credentials, **headers)).status_code == status
    assert (await ada.logout(**headers)).status_code == (204 if status == 200 else 403)
    assert (ada.cookie is None) == (status == 200)


async def test_the_portal_and_listed_origins_may_use_the_cookie(database_urls: DatabaseUrls) -> None:
    variables = environment(
        database_urls,
        redis_url="redis://127.0.0.1:1",
        NP_PUBLIC_URL="https://API.example.com:443/billing",
        NP_PORTAL_URL="https://portal.example.com/",
        NP_CORS_ORIGINS="http://localhost:3001,http://intranet.example.com:80",
    )
    assert RefreshCookie.configured(api_settings(variables)).origins == {
        "https://api.example.com",
        "https://portal.example.com",
        "http://localhost:3001",
        "http://intranet.example.com",
    }


async def test_in_the_devstack_pages_sign_in_by_either_name_of_this_machine(
    settings: ApiSettings, app_clock: Any, ada: Visitor
) -> None:
    """The portal's page calls the API by the name that the page has: another origin, and the same site."""
    choices = Choices.read({"NP_DATA": "unused"})
    stack = THE_STACK.describe(choices, Keyring(), dict.fromkeys(THE_STACK.wanted_ports(choices), 8001))
    (env,) = (node.server.launch().env for node in stack.nodes if isinstance(node, Part) and node.name == "billing_api")
    origins = tuple(env["NP_CORS_ORIGINS"].split(","))
    credentials = {"email": ada.email, "password": PASSWORD}
    async with alive(create_app(replace(settings, cors_origins=origins), app_clock)) as app:
        for name, port in itertools.product(("localhost", "127.0.0.1"), (8001, 3001)):
            page = {"Origin": f"http://{name}:{port}", "Sec-Fetch-Site": "same-origin" if port == 8001 else "same-site"}
            async with browser(app) as web:
                web.base_url = f"http://{name}:8001"
                signed_in = await web.post("/api/v1/auth/login", json=credentials, headers=page)
                assert (signed_in.status_code, signed_in.headers["access-control-allow-origin"]) == (
                    200,
                    page["Origin"],
                )
                assert signed_in.headers["access-control-allow-credentials"] == "true"
                assert (await web.post("/api/v1/auth/refresh", headers=page)).status_code == 200, "it kept the cookie"
                other = page | {"Origin": f"http://{name}:3999"}
                assert (await web.post("/api/v1/auth/refresh", headers=other)).status_code == 403


async def test_a_stale_access_token_does_not_keep_anybody_from_signing_in(
    ada: Visitor, app: Litestar, clock: Any
) -> None:
    """Browsers send the old access token with the call that gets a new one."""
    granted = await ada.login()
    clock.now += timedelta(minutes=16)
    stale = {"Authorization": f"Bearer {granted.json()['access_token']}"}
    assert (await ada.web.get("/api/v1/me", headers=stale)).status_code == 401
    assert (await ada.refresh(**stale)).status_code == 200
    async with browser(app) as other:
        answer = await other.post("/api/v1/auth/login", json={"email": ada.email, "password": PASSWORD}, headers=stale)
    assert answer.status_code == 200
