"""Tokens of service accounts: what they open, in whose name, from where, for how long and how often."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_network
from typing import Any

import httpx
import jwt
import pytest

from billing_api.access.permissions import SCOPES, Scope, StaffScope
from billing_api.access.tokens import ClientToken, ServiceAccountToken, TokenIssuer
from billing_api.server.app import create_app
from core.rate_limit import Quota
from core.settings import ApiSettings
from tests.billing_api.conftest import Client, FakeTime
from tests.support.databases import rows
from tests.support.people import Desk, Headers
from tests.support.programs import ACCOUNTS, TOKEN, a_service_account, credentials, token_for
from tests.support.servers import DatabaseUrls
from tests.support.visitors import alive, browser

LICENSES = "/api/v1/admin/licenses"
ALL = [scope.value for scope in StaffScope]


@pytest.fixture
async def admin(desk: Desk) -> Headers:
    return await desk.staff()


@pytest.fixture
async def elsewhere(settings: ApiSettings, app_clock: FakeTime) -> AsyncIterator[Client]:
    """A client of another process of the API."""
    async with alive(create_app(settings, app_clock)) as app, browser(app) as other:
        yield other


def told(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def error_of(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json().keys() == {"error", "error_description"}
    return answer.status_code, answer.json()["error"]


async def test_the_answer_is_what_rfc_6749_says(client: Client, admin: Headers) -> None:
    account = await a_service_account(client, admin, *ALL)
    granted = await client.post(TOKEN, data=credentials(account))
    body = granted.json()
    assert body.keys() == {"access_token", "token_type", "expires_in", "scope"}, "no refresh token (RFC 6749, 4.4.3)"
    assert (body["token_type"], body["expires_in"], body["scope"]) == ("Bearer", 900, " ".join(sorted(ALL)))
    assert jwt.get_unverified_header(body["access_token"])["typ"] == "service-account+jwt"
    claims = jwt.decode(body["access_token"], options={"verify_signature": False})
    assert claims.keys() == {"sub", "client_id", "scope", "aud", "iat", "exp", "jti"}
    assert "set-cookie" not in granted.headers
    basic = httpx.BasicAuth(account["client_id"], account["client_secret"])
    by_header = await client.post(TOKEN, data={"grant_type": "client_credentials"}, auth=basic)
    assert by_header.status_code == 200


async def test_an_unknown_account_and_a_wrong_secret_are_one_error(client: Client, admin: Headers) -> None:
    account, other = await a_service_account(client, admin), await a_service_account(client, admin, name="other")
    answers = [
        await client.post(TOKEN, data=credentials(account) | change)
        for change in (
            {"client_secret": "x"},
            {"client_secret": other["client_secret"]},
            {"client_id": "npsa_01a2041e235a72e4b316ce7d5cf5e521"},
            {"client_id": "npsa_"},
            {"client_id": "npsa_' OR 1=1 --"},
            {"client_id": account["id"]},
        )
    ]
    assert {error_of(answer) for answer in answers} == {(401, "invalid_client")}
    assert len({answer.text for answer in answers}) == 1


async def test_it_gets_no_scope_that_it_was_not_made_for(client: Client, admin: Headers) -> None:
    account = await a_service_account(client, admin, "licenses:read")
    wide = await client.post(TOKEN, data=credentials(account, scope="licenses:read licenses:write"))
    assert error_of(wide) == (400, "invalid_scope")
    of_customers = await client.post(TOKEN, data=credentials(account, scope="invoices:read"))
    assert error_of(of_customers) == (400, "invalid_scope")
    other = await client.post(TOKEN, data=credentials(account, grant_type="password"))
    assert error_of(other) == (400, "unsupported_grant_type")


async def test_kinds_of_tokens_are_not_taken_for_each_other(client: Client, admin: Headers, desk: Desk) -> None:
    """The scope `licenses:read` has one name and two meanings."""
    account = await a_service_account(client, admin, "licenses:read")
    issuer = TokenIssuer(desk.settings.jwt_keys, desk.clock)
    posing = issuer.issue_to_client(ClientToken(account["id"], frozenset({Scope.LICENSES_READ})))
    assert told(await client.get(LICENSES, headers={"Authorization": f"Bearer {posing}"})) == (401, "unauthenticated")
    owner = await desk.a_customer()
    order = {"name": "books", "scopes": ["licenses:read"]}
    theirs = (await client.post("/api/v1/me/oauth-clients", json=order, headers=owner)).json()
    posing = issuer.issue_to_service_account(
        ServiceAccountToken(theirs["client_id"], frozenset({StaffScope.LICENSES_READ}))
    )
    assert told(await client.get(LICENSES, headers={"Authorization": f"Bearer {posing}"})) == (401, "unauthenticated")
    headers = await token_for(client, account)
    assert told(await client.get("/api/v1/licenses", headers=headers)) == (403, "forbidden")
    assert SCOPES[Scope(StaffScope.LICENSES_READ.value)], "equal texts: hence two fields and two maps"


@pytest.mark.parametrize("how", ["revoked", "narrowed", "moved"])
async def test_what_is_taken_away_is_refused_at_once_in_every_process(
    client: Client, elsewhere: Client, admin: Headers, how: str
) -> None:
    account = await a_service_account(client, admin, "licenses:read", "audit:read")
    headers = await token_for(client, account)
    assert (await elsewhere.get(LICENSES, headers=headers)).status_code == 200
    path = f"{ACCOUNTS}/{account['id']}"
    if how == "revoked":
        await client.delete(path, headers=admin)
        refused = (401, "unauthenticated")
    elif how == "narrowed":
        await client.patch(path, headers=admin, json={"scopes": ["audit:read"]})
        refused = (403, "insufficient_scope")
    else:
        await client.patch(path, headers=admin, json={"networks": ["203.0.113.0/24"]})
        refused = (403, "network_not_allowed")
    for web in (client, elsewhere):
        assert told(await web.get(LICENSES, headers=headers)) == refused
    assert (await client.get("/api/v1/plans", headers=headers)).status_code == 200, "what is open stays open"


async def test_a_scope_that_is_given_needs_a_new_token(client: Client, admin: Headers) -> None:
    account = await a_service_account(client, admin, "licenses:read")
    old = await token_for(client, account)
    await client.patch(f"{ACCOUNTS}/{account['id']}", headers=admin, json={"scopes": ["audit:read", "licenses:read"]})
    answer = await client.get("/api/v1/admin/audit", headers=old)
    assert told(answer) == (403, "insufficient_scope")
    assert 'scope="audit:read"' in answer.headers["www-authenticate"]
    fresh = await token_for(client, account)
    assert (await client.get("/api/v1/admin/audit", headers=fresh)).status_code == 200


async def test_from_another_network_it_gets_no_token_and_is_told_its_address(client: Client, admin: Headers) -> None:
    account = await a_service_account(client, admin, networks=["203.0.113.0/24"])
    refused = await client.post(TOKEN, data=credentials(account))
    assert error_of(refused) == (400, "unauthorized_client")
    assert "127.0.0.1" in refused.json()["error_description"]
    guessed = await client.post(TOKEN, data=credentials(account) | {"client_secret": "x"})
    assert error_of(guessed) == (401, "invalid_client"), "strangers are told nothing of networks"
    (listed,) = (await client.get(ACCOUNTS, headers=admin)).json()["items"]
    assert listed["last_used_at"] is None
    here = await a_service_account(client, admin, name="here", networks=["::ffff:127.0.0.1"])
    assert (await client.get(LICENSES, headers=await token_for(client, here))).status_code == 200


async def test_a_token_lives_for_a_quarter_of_an_hour(client: Client, admin: Headers, clock: FakeTime) -> None:
    headers = await token_for(client, await a_service_account(client, admin))
    clock.now += timedelta(minutes=15)
    answer = await client.get(LICENSES, headers=headers)
    assert told(answer) == (401, "unauthenticated")
    assert "oauth/token" in answer.json()["detail"]


async def test_it_does_what_staff_do_and_the_trail_names_it(
    client: Client, admin: Headers, desk: Desk, database_urls: DatabaseUrls
) -> None:
    account = await a_service_account(client, admin, *ALL, name="Nightly sync")
    headers = await token_for(client, account)
    email = f"{(await desk.a_user()).hex}@example.com"
    keyed = headers | {"Idempotency-Key": "tonight"}
    order = {"email": email, "plan": "starter"}
    first, again = [await client.post(LICENSES, json=order, headers=keyed) for _ in range(2)]
    assert (first.status_code, again.json()) == (201, first.json())
    path = f"{LICENSES}/{first.json()['id']}"
    calls: list[tuple[str, str, dict[str, Any] | None]] = [
        ("POST", f"{path}/suspend", {"reason": "unpaid"}),
        ("POST", f"{path}/resume", {"reason": "paid"}),
        ("POST", f"{path}/limits", {"limits": {"max_databases": 7}, "reason": "asked"}),
        ("POST", f"{path}/reset-fingerprint", {"reason": "moved"}),
        ("PATCH", path, {"fingerprint_policy": "required"}),
        ("GET", f"{path}/usage", None),
        ("GET", "/api/v1/admin/users", None),
        ("GET", "/api/v1/admin/jobs", None),
    ]
    for method, place, body in calls:
        answer = await client.request(method, place, json=body, headers=headers)
        assert answer.status_code < 500, (place, answer.text)
        assert answer.status_code != 403, (place, answer.text)
    trail = await client.get("/api/v1/admin/audit", params={"actor_id": account["id"]}, headers=headers)
    actors = [item["actor"] for item in trail.json()["items"]]
    assert len(actors) >= 3
    assert {(actor["kind"], actor["name"], actor["email"]) for actor in actors} == {
        ("service_account", "Nightly sync", None)
    }
    (stored,) = await rows(database_urls, "SELECT user_id FROM idempotency_keys WHERE key = 'tonight'")
    assert stored["user_id"] is None


@asynccontextmanager
async def limited(settings: ApiSettings, clock: FakeTime, from_address: str, **limits: int) -> AsyncIterator[Client]:
    """A client of a process with these limits an hour, at an address that no other test counts under."""
    quotas = {**settings.limits, **{name: Quota(number, 3600) for name, number in limits.items()}}
    changed = replace(settings, limits=quotas, trusted_proxies=(ip_network("127.0.0.1/32"),))
    async with alive(create_app(changed, clock)) as app, browser(app) as web:
        web.headers["X-Forwarded-For"] = from_address
        yield web


async def test_it_has_a_limit_of_its_own_in_place_of_its_address(
    client: Client, admin: Headers, settings: ApiSettings, app_clock: FakeTime
) -> None:
    one, two = await a_service_account(client, admin), await a_service_account(client, admin, name="two")
    async with limited(settings, app_clock, "198.51.100.71", service_account=3, address=4) as web:
        first, second = await token_for(web, one), await token_for(web, two)
        answers = [await web.get(LICENSES, headers=first) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert answers[3].headers["ratelimit"].startswith('"service_account";r=0;')
        assert (await web.get(LICENSES, headers=second)).status_code == 200
        strangers = [(await web.get("/api/v1/plans")).status_code for _ in range(3)]
        assert strangers == [200, 200, 429], "both token requests counted by address, the calls did not"


async def test_guesses_at_a_secret_are_counted(
    client: Client, admin: Headers, settings: ApiSettings, app_clock: FakeTime
) -> None:
    account = await a_service_account(client, admin)
    async with limited(settings, app_clock, "198.51.100.72", login=3) as web:
        wrong = credentials(account) | {"client_secret": "npss_guess"}
        guesses = [(await web.post(TOKEN, data=wrong)).status_code for _ in range(5)]
        assert guesses == [401, 401, 401, 429, 429]
        assert (await web.post(TOKEN, data=credentials(account))).status_code == 429
