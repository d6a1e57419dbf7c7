"""Token endpoint: each error of RFC 6749, and what a client's token may read and never do."""

import base64
import dataclasses
import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import httpx
import jwt
import pytest
from litestar import Litestar

from billing_api.access.permissions import SCOPES, Permission, Scope
from billing_api.access.tokens import ClientToken, TokenIssuer
from billing_api.server.app import create_app
from core.ids import new_id
from core.settings import ApiSettings
from db.models.identity import Role
from tests.billing_api.conftest import FakeTime
from tests.billing_api.server.test_app import concrete, handlers
from tests.support.databases import change
from tests.support.members import Member, a_member
from tests.support.people import Desk, Headers
from tests.support.servers import DatabaseUrls
from tests.support.visitors import alive, browser

TOKEN = "/api/v1/oauth/token"
ALL_SCOPES = sorted(Scope)


@pytest.fixture
async def client(ada: Member) -> dict[str, Any]:
    return await registered(ada)


async def registered(owner: Member, scopes: Sequence[str] = ALL_SCOPES) -> dict[str, Any]:
    made = await owner.call("POST", "me/oauth-clients", {"name": "Reports", "scopes": list(scopes)})
    assert made.status_code == 201, made.text
    body: dict[str, Any] = made.json()
    return body


def form(client: dict[str, Any], **more: str) -> dict[str, str]:
    credentials = {"client_id": client["client_id"], "client_secret": client["client_secret"]}
    return {"grant_type": "client_credentials"} | credentials | more


async def bearer(web: httpx.AsyncClient, client: dict[str, Any], **more: str) -> Headers:
    granted = await web.post(TOKEN, data=form(client, **more))
    assert granted.status_code == 200, granted.text
    return {"Authorization": f"Bearer {granted.json()['access_token']}"}


async def test_the_answer_is_what_rfc_6749_says(ada: Member, client: dict[str, Any]) -> None:
    granted = await ada.web.post(TOKEN, data=form(client))
    assert granted.status_code == 200
    assert granted.headers["content-type"].startswith("application/json")
    assert (granted.headers["cache-control"], granted.headers["pragma"]) == ("no-store", "no-cache")
    body = granted.json()
    assert body.keys() == {"access_token", "token_type", "expires_in", "scope"}
    assert (body["token_type"], body["expires_in"], body["scope"]) == ("Bearer", 900, " ".join(ALL_SCOPES))
    assert "set-cookie" not in granted.headers


async def test_the_token_is_in_the_form_of_rfc_9068(ada: Member, client: dict[str, Any]) -> None:
    token = (await bearer(ada.web, client, scope="usage:read licenses:read"))["Authorization"].split()[1]
    assert jwt.get_unverified_header(token)["typ"] == "at+jwt"
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims.keys() == {"sub", "client_id", "scope", "aud", "iat", "exp", "jti"}
    assert claims["sub"] == claims["client_id"] == client["client_id"]
    assert claims["scope"] == "licenses:read usage:read"


async def test_both_ways_to_authenticate(ada: Member, client: dict[str, Any]) -> None:
    pair = f"{client['client_id']}:{client['client_secret']}".encode()
    basic = {"Authorization": "Basic " + base64.b64encode(pair).decode()}
    by_header = await ada.web.post(TOKEN, data={"grant_type": "client_credentials"}, headers=basic)
    assert by_header.status_code == 200


def error_of(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.json().keys() == {"error", "error_description"}
    assert ("www-authenticate" in answer.headers) == (answer.status_code == 401)
    return answer.status_code, answer.json()["error"]


async def test_an_unknown_client_and_a_wrong_secret_are_one_error(ada: Member, client: dict[str, Any]) -> None:
    unknown = {"client_id": "01a2041e-235a-72e4-b316-ce7d5cf5e521"}
    answers = [
        await ada.web.post(TOKEN, data=form(client) | change_)
        for change_ in ({"client_secret": "x"}, unknown, {"client_id": "' OR 1=1 --"}, {"client_id": "\x00"})
    ]
    assert {error_of(answer) for answer in answers} == {(401, "invalid_client")}
    assert len({answer.text for answer in answers}) == 1
    assert answers[0].headers["www-authenticate"].startswith("Basic ")


async def test_the_other_errors_have_their_names(ada: Member, client: dict[str, Any]) -> None:
    post = ada.web.post
    assert error_of(await post(TOKEN, data=form(client, grant_type="password"))) == (400, "unsupported_grant_type")
    assert error_of(await post(TOKEN, data=form(client, scope="everything"))) == (400, "invalid_scope")
    assert error_of(await post(TOKEN, json=form(client))) == (400, "invalid_request")
    assert error_of(await post(TOKEN, params=form(client))) == (400, "invalid_request")
    assert error_of(await post(TOKEN, content=b"", headers={"Content-Type": "text/plain"})) == (400, "invalid_request")


async def test_a_client_gets_no_scope_that_it_was_not_made_for(ada: Member) -> None:
    narrow = await registered(ada, ["licenses:read"])
    assert error_of(await ada.web.post(TOKEN, data=form(narrow, scope="invoices:read"))) == (400, "invalid_scope")
    wide = await ada.web.post(TOKEN, data=form(narrow, scope="licenses:read invoices:read"))
    assert error_of(wide) == (400, "invalid_scope")
    assert (await ada.web.post(TOKEN, data=form(narrow))).json()["scope"] == "licenses:read"


async def test_a_client_reads_its_owners_things_and_nobody_elses(
    ada: Member, bob: Member, client: dict[str, Any], desk: Desk
) -> None:
    me = (await ada.call("GET", "me")).json()
    mine = await desk.a_license(me["id"])
    theirs = await desk.a_license((await bob.call("GET", "me")).json()["id"])
    headers = await bearer(ada.web, client)
    listed = (await ada.web.get("/api/v1/licenses", headers=headers)).json()
    assert [item["id"] for item in listed["items"]] == [str(mine.license.id)]
    assert (await ada.web.get(f"/api/v1/licenses/{theirs.license.id}", headers=headers)).status_code == 404


async def test_of_all_routes_it_opens_those_of_its_scope(app: Litestar, ada: Member) -> None:
    """Every route, with a token of every scope: 403 unless the route asks for just that permission."""
    routes = [
        (method, path, Permission(handler.opt["permission"]))
        for path, handler in handlers(app)
        for method in handler.http_methods
        if handler.opt["permission"] not in {Permission.PUBLIC, Permission.SIGNED}
    ]
    opened = set()
    for scope in Scope:
        headers = await bearer(ada.web, await registered(ada, [scope]))
        for method, path, permission in routes:
            answer = await ada.web.request(method, concrete(path), headers=headers)
            if permission is SCOPES[scope]:
                assert answer.status_code != 403, (scope, method, path)
                opened.add((method, path))
            elif permission in SCOPES.values():
                assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope"), (scope, method, path)
                [wanted] = [scope for scope, opened_by in SCOPES.items() if opened_by is permission]
                challenge = f'Bearer realm="nextpanel-billing", error="insufficient_scope", scope="{wanted}"'
                assert answer.headers["www-authenticate"] == challenge
                assert wanted in answer.json()["detail"]
            else:
                assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), (scope, method, path)
                assert "www-authenticate" not in answer.headers, "no token of a program would do"
    assert {method for method, _ in opened} == {"GET"}, "scopes read and change nothing"
    assert len(opened) >= 8


async def test_an_administrators_client_administrates_nothing(app: Litestar, desk: Desk) -> None:
    async with a_member(app, desk, Role.ADMIN) as admin:
        headers = await bearer(admin.web, await registered(admin))
        for path in ("/api/v1/admin/licenses", "/api/v1/admin/jobs", "/api/v1/me"):
            assert (await admin.web.get(path, headers=headers)).status_code == 403
        assert (await admin.web.get("/api/v1/licenses", headers=headers)).status_code == 200


async def test_a_client_never_steps_up(ada: Member, client: dict[str, Any]) -> None:
    headers = await bearer(ada.web, client)
    answer = await ada.web.post("/api/v1/auth/step-up", json={"password": "x"}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


@pytest.mark.parametrize("how", ["revoked", "owner suspended"])
async def test_a_token_ends_with_its_client_at_once(
    ada: Member, client: dict[str, Any], database_urls: DatabaseUrls, how: str
) -> None:
    headers = await bearer(ada.web, client)
    assert (await ada.web.get("/api/v1/licenses", headers=headers)).status_code == 200
    if how == "revoked":
        await ada.call("DELETE", f"me/oauth-clients/{client['client_id']}")
    else:
        await change(database_urls, "UPDATE users SET is_active = false")
    refused = await ada.web.get("/api/v1/licenses", headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (401, "unauthenticated")
    assert error_of(await ada.web.post(TOKEN, data=form(client))) == (401, "invalid_client")


async def test_a_token_lives_for_a_quarter_of_an_hour(ada: Member, client: dict[str, Any], clock: FakeTime) -> None:
    headers = await bearer(ada.web, client)
    clock.now += timedelta(minutes=15)
    assert (await ada.web.get("/api/v1/licenses", headers=headers)).status_code == 401


async def test_who_cannot_be_looked_up_is_not_refused_for_good(settings: ApiSettings, clock: FakeTime) -> None:
    away = dataclasses.replace(settings, database_url="postgresql://np_api:unused@127.0.0.1:1/away")
    token = TokenIssuer(settings.jwt_keys, clock).issue_to_client(ClientToken(new_id(), frozenset(Scope)))
    async with alive(create_app(away, clock)) as app, browser(app) as web:
        answer = await web.get("/api/v1/licenses", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()["conclusive"]) == (503, False)


async def test_the_document_tells_the_form_and_its_errors(ada: Member) -> None:
    document = (await ada.web.get("/schema/openapi.json")).json()
    operation = document["paths"][TOKEN]["post"]
    assert set(operation["requestBody"]["content"]) == {"application/x-www-form-urlencoded"}
    assert set(operation["responses"]["401"]["content"]) == {"application/json"}
    assert "TokenFault" in json.dumps(operation["responses"]["400"])
