"""Signed calls over real sockets, to a real process with a real server behind it."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from core.clock import unix_time
from core.licensing.record import PERMISSIONS
from core.licensing.state import Status
from devstack.valkey import Valkey
from tests.validator.stage import (
    HOST,
    PATH,
    ApiKey,
    License,
    Panel,
    Projection,
    eventually,
    ready,
    sealed,
    signed_headers,
    validator,
)

VALIDATE = PATH + "validate-license"
INSTANT: Final = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


async def verdict_of(panel: Panel, issued: License, code: str) -> dict[str, Any]:
    """The verdict once it is `code`: a change is pushed, which takes some milliseconds."""
    return await eventually(lambda: panel.verdict(issued), lambda answer: answer["code"] == code)


class TestVerdicts:
    async def test_a_license_with_quota_left_is_valid(self, panel: Panel, projection: Projection) -> None:
        issued = await projection.license()
        await projection.use(issued, "databases", 7, 1)
        answer = await panel.verdict(issued)
        assert answer["valid"] is True
        assert answer["code"] == "VALID"
        assert answer["remaining_quota"] == 43
        assert answer["stale"] is False
        assert answer["as_of"].endswith("Z")
        assert len(answer["request_id"]) == 20

    async def test_each_answer_has_its_own_request_id(self, panel: Panel, projection: Projection) -> None:
        issued = await projection.license()
        answers = [await panel.verdict(issued) for _ in range(5)]
        assert len({answer["request_id"] for answer in answers}) == 5

    @pytest.mark.parametrize(
        ("changes", "feature", "code", "remaining"),
        [
            ({"status": Status.SUSPENDED}, "create_database", "SUSPENDED", 0),
            ({"status": Status.CANCELLED}, "create_database", "CANCELLED", 0),
            ({"status": Status.EXPIRED}, "create_database", "EXPIRED", 0),
            ({"valid_until": 1.0}, "create_database", "EXPIRED", 0),
            ({"valid_until": 1.0, "grace_until": 4e9}, "create_database", "GRACE", 50),
            ({"valid_from": 4e9, "valid_until": 5e9}, "create_database", "NOT_YET_VALID", 0),
            ({"fingerprint_required": True}, "create_database", "FINGERPRINT_REQUIRED", 0),
            ({}, "fly_to_the_moon", "FEATURE_NOT_INCLUDED", 0),
            ({"limits": {}}, "create_database", "FEATURE_NOT_INCLUDED", 0),
            ({"limits": {"databases": 0}}, "create_database", "QUOTA_EXCEEDED", 0),
            ({}, "create_email", "VALID", None),
            ({}, "backups", "VALID", None),
            ({"tombstone": True}, "create_database", "NOT_FOUND", 0),
        ],
    )
    async def test_follow_the_record(
        self,
        panel: Panel,
        projection: Projection,
        changes: dict[str, Any],
        feature: str,
        code: str,
        remaining: int | None,
    ) -> None:
        issued = await projection.license(**changes)
        for _ in range(2):  # from Redis, then from the near cache
            answer = await panel.verdict(issued, feature)
            assert (answer["code"], answer["remaining_quota"]) == (code, remaining)
            assert answer["valid"] is (code in {"VALID", "GRACE"})

    async def test_a_fingerprint_is_compared(self, panel: Panel, projection: Projection) -> None:
        issued = await projection.license(fingerprint="panel-1", fingerprint_required=True)
        assert (await panel.verdict(issued, fingerprint="panel-1"))["code"] == "VALID"
        assert (await panel.verdict(issued, fingerprint="panel-2"))["code"] == "FINGERPRINT_MISMATCH"
        assert (await panel.verdict(issued))["code"] == "FINGERPRINT_REQUIRED"

    async def test_a_license_nobody_issued_is_not_found(self, panel: Panel, projection: Projection) -> None:
        issued = await projection.license()
        mistyped = issued.key[:-1] + ("0" if issued.key[-1] != "0" else "1")
        assert (await panel.verdict(mistyped))["code"] == "NOT_FOUND"
        assert (await panel.verdict("no key at all"))["code"] == "NOT_FOUND"

    async def test_a_license_is_found_as_soon_as_it_is_issued(self, panel: Panel, projection: Projection) -> None:
        issued = await projection.license(tombstone=True)
        await projection.redis.delete(
            *[key async for key in projection.redis.scan_iter(f"npd:*{issued.hash[:16].hex()}")]
        )
        assert (await panel.verdict(issued))["code"] == "NOT_FOUND"
        after = await projection.change(issued, tombstone=False)
        await verdict_of(panel, after, "VALID")

    async def test_a_key_is_read_as_people_type_it(self, panel: Panel, projection: Projection) -> None:
        issued = await projection.license()
        for typed in (issued.key.lower(), issued.key.replace("-", ""), f" {issued.key} "):
            assert (await panel.verdict(typed))["code"] == "VALID"

    async def test_a_change_is_pushed(self, panel: Panel, projection: Projection) -> None:
        issued = await projection.license()
        for _ in range(3):
            await verdict_of(panel, issued, "VALID")
            issued = await projection.change(issued, status=Status.SUSPENDED)
            before = asyncio.get_running_loop().time()
            await verdict_of(panel, issued, "SUSPENDED")
            assert asyncio.get_running_loop().time() - before < 2
            issued = await projection.change(issued, status=Status.ACTIVE)

    async def test_the_calendar_needs_no_push(self, panel: Panel, projection: Projection) -> None:
        issued = await projection.license(valid_until=unix_time() + 0.3)
        assert (await panel.verdict(issued))["code"] == "VALID"
        await verdict_of(panel, issued, "EXPIRED")

    async def test_usage_is_pushed(self, panel: Panel, projection: Projection) -> None:
        issued = await projection.license()
        assert (await panel.verdict(issued))["remaining_quota"] == 50
        await projection.use(issued, "databases", 50, 1)
        answer = await verdict_of(panel, issued, "QUOTA_EXCEEDED")
        assert answer["remaining_quota"] == 0

    async def test_a_total_below_zero_is_no_gift(self, panel: Panel, projection: Projection) -> None:
        issued = await projection.license()
        await projection.use(issued, "databases", -4, 1)
        assert (await panel.verdict(issued))["remaining_quota"] == 50


class TestBatches:
    async def test_are_answered_in_order(self, panel: Panel, projection: Projection) -> None:
        issued = [await projection.license(limits={"databases": number}) for number in range(1, 21)]
        asked = [{"license_key": one.key, "feature": "create_database"} for one in issued]
        asked.insert(3, {"license_key": "NP-0000-0000-0000", "feature": "create_database"})
        for _ in range(2):
            response = await panel.call("validate-licenses", {"items": asked})
            items = response.json()["items"]
            assert [item["remaining_quota"] for item in items] == [1, 2, 3, 0, *range(4, 21)]
            assert [item["valid"] for item in items].count(False) == 1
            assert all(
                item.keys() == {"valid", "remaining_quota", "code", "as_of", "stale", "request_id"} for item in items
            )

    @pytest.mark.parametrize("number", [0, 101])
    async def test_have_a_size(self, panel: Panel, number: int) -> None:
        asked = [{"license_key": "NP-0000-0000-0000", "feature": "a"}] * number
        assert (await panel.call("validate-licenses", {"items": asked})).status_code == 400

    async def test_of_a_hundred_are_taken(self, panel: Panel, projection: Projection) -> None:
        issued = await projection.license()
        asked = [{"license_key": issued.key, "feature": "create_database"}] * 100
        assert len((await panel.call("validate-licenses", {"items": asked})).json()["items"]) == 100


class TestExplain:
    async def test_tells_every_rule_and_what_it_saw(self, panel: Panel, projection: Projection) -> None:
        issued = await projection.license(version=7, valid_until=4_102_444_800.0)
        await projection.use(issued, "domains", 3, 1)
        response = await panel.call("explain", {"license_key": issued.key, "feature": "create_domain"})
        answer = response.json()
        assert (answer["code"], answer["valid"], answer["version"]) == ("QUOTA_EXCEEDED", False, 7)
        rules = {rule["code"]: rule for rule in answer["rules"]}
        assert next(iter(rules)) == "NOT_FOUND"
        assert rules["QUOTA_EXCEEDED"] == {
            "code": "QUOTA_EXCEEDED",
            "applies": True,
            "saw": {"resource": "domains", "limit": 3, "used": 3, "held": 0},
        }
        assert not rules["SUSPENDED"]["applies"]
        until = rules["EXPIRED"]["saw"]
        assert re.fullmatch(INSTANT, until["now"])
        assert (until["valid_until"], until["grace_until"]) == ("2100-01-01T00:00:00.000Z", None)
        assert 0 <= answer["age_seconds"] < 5
        assert answer["license_id"] == str(issued.record.license_id)

    async def test_tells_of_no_license(self, panel: Panel) -> None:
        response = await panel.call("explain", {"license_key": "NP-0000-0000-0000", "feature": "a"})
        answer = response.json()
        assert (answer["code"], answer["license_id"], len(answer["rules"])) == ("NOT_FOUND", None, 1)


class TestApiKeys:
    """Authentication and permissions."""

    CONTENT = b'{"license_key":"NP-0000-0000-0000","feature":"a"}'

    async def refused(
        self, client: httpx.AsyncClient, headers: dict[str, str], body: bytes = CONTENT
    ) -> dict[str, Any]:
        response = await client.post(VALIDATE, content=body, headers=headers)
        assert response.status_code == 401
        assert response.headers["content-type"] == "application/problem+json"
        problem: dict[str, Any] = response.json()
        assert (problem["status"], problem["code"], problem["conclusive"]) == (401, "invalid_signature", True)
        assert abs(problem["server_time"] - unix_time()) < 5
        return problem

    async def status_of(self, panel: Panel, api_key: ApiKey, status: int) -> httpx.Response:
        return await eventually(
            lambda: panel.call("validate-license", self.CONTENT, api_key=api_key),
            lambda response: response.status_code == status,
        )

    async def test_failed_signatures_of_an_address_are_counted_and_only_they_are_refused(
        self, hot_valkey: Valkey, projection: Projection, tmp_path: Path
    ) -> None:
        key = await projection.api_key()
        more = {"NP_LIMITS": "signature_failures=3/3600", "NP_TRUSTED_PROXIES": f"{HOST}/32"}
        with validator(hot_valkey.url, tmp_path / "log", **more) as process:
            assert ready(process.url)
            async with httpx.AsyncClient(base_url=process.url, timeout=10) as client:
                unsigned = [(await client.post(VALIDATE, content=self.CONTENT)) for _ in range(5)]
                assert [answer.status_code for answer in unsigned] == [401, 401, 401, 429, 429]
                assert unsigned[4].json()["code"] == "too_many_requests"
                assert unsigned[4].headers["ratelimit"].startswith('"signature_failures";r=0;t=')
                assert unsigned[4].headers["ratelimit-policy"] == '"signature_failures";q=3;w=3600'
                assert 1_000 < int(unsigned[4].headers["retry-after"]) <= 1_200
                invented = signed_headers(ApiKey("npk_0123456789abcdef", key.secret), VALIDATE, self.CONTENT)
                assert (await client.post(VALIDATE, content=self.CONTENT, headers=invented)).status_code == 429
                assert (await Panel(client, key).call("validate-license", self.CONTENT)).status_code == 200
                elsewhere = {"X-Forwarded-For": "198.51.100.7"}
                assert (await client.post(VALIDATE, content=self.CONTENT, headers=elsewhere)).status_code == 401

    async def test_a_signature_is_required(self, client: httpx.AsyncClient) -> None:
        assert (await self.refused(client, {"Content-Type": "application/json"}))["check"] == "missing"

    @pytest.mark.parametrize(
        ("change", "check"),
        [
            (lambda text: text.replace(",n=", ",N="), "malformed"),
            (lambda text: text + ",x=1", "malformed"),
            (lambda text: text.replace("k=npk", "k=nobody"), "unknown_key"),
            (lambda text: text[:-1] + ("0" if text[-1] != "0" else "1"), "mismatch"),
        ],
    )
    async def test_a_signature_must_hold(
        self, client: httpx.AsyncClient, panel: Panel, change: Any, check: str
    ) -> None:
        headers = signed_headers(panel.api_key, VALIDATE, self.CONTENT)
        headers["NP-Signature"] = change(headers["NP-Signature"])
        assert (await self.refused(client, headers))["check"] == check

    @pytest.mark.parametrize(("ahead", "check"), [(-310, "too_old"), (40, "in_future")])
    async def test_a_signature_has_a_time(
        self, client: httpx.AsyncClient, panel: Panel, ahead: int, check: str
    ) -> None:
        headers = signed_headers(panel.api_key, VALIDATE, self.CONTENT, now=unix_time() + ahead)
        assert (await self.refused(client, headers))["check"] == check

    async def test_another_body_path_or_idempotency_key_is_not_signed(
        self, client: httpx.AsyncClient, panel: Panel
    ) -> None:
        headers = signed_headers(panel.api_key, VALIDATE, self.CONTENT)
        assert (await self.refused(client, headers, self.CONTENT + b" "))["check"] == "mismatch"
        assert (await self.refused(client, headers | {"Idempotency-Key": "1"}))["check"] == "mismatch"
        response = await client.post(PATH + "explain", content=self.CONTENT, headers=headers)
        assert response.json()["check"] == "mismatch"

    async def test_a_query_without_names_is_signed(self, client: httpx.AsyncClient, panel: Panel) -> None:
        """Names are refused (tests/contract/test_problems.py)."""
        headers = signed_headers(panel.api_key, VALIDATE + "?&", self.CONTENT)
        assert (await client.post(VALIDATE + "?&", content=self.CONTENT, headers=headers)).status_code == 200
        response = await client.post(VALIDATE, content=self.CONTENT, headers=headers)
        assert response.json()["check"] == "mismatch"

    async def test_both_secrets_hold_while_a_key_is_being_rotated(self, panel: Panel, projection: Projection) -> None:
        old = await projection.api_key()
        secret = "the-new-secret"
        changes = {
            "version": 2,
            "current_secret": sealed(old.key_id, secret),
            "previous_secret": sealed(old.key_id, old.secret),
            "previous_until": unix_time() + 0.5,
        }
        await projection.api_key(key_id=old.key_id, **changes)
        new = ApiKey(old.key_id, secret)
        assert (await panel.call("validate-license", self.CONTENT, api_key=new)).status_code == 200
        assert (await panel.call("validate-license", self.CONTENT, api_key=old)).status_code == 200
        await self.status_of(panel, old, 401)
        assert (await panel.call("validate-license", self.CONTENT, api_key=new)).status_code == 200

    async def test_a_revoked_key_is_refused(self, panel: Panel, projection: Projection) -> None:
        key = await projection.api_key()
        assert (await panel.call("validate-license", self.CONTENT, api_key=key)).status_code == 200
        await projection.api_key(key_id=key.key_id, active=False, version=2)
        response = await self.status_of(panel, key, 401)
        assert response.json()["check"] == "unknown_key"

    async def test_an_expired_key_is_refused(self, panel: Panel, projection: Projection) -> None:
        key = await projection.api_key(expires_at=1.0)
        response = await panel.call("validate-license", self.CONTENT, api_key=key)
        assert response.json()["check"] == "unknown_key"

    async def test_a_key_made_after_it_was_asked_for_is_known(self, panel: Panel, projection: Projection) -> None:
        stranger = ApiKey("npk_later", "x")
        assert (await panel.call("validate-license", self.CONTENT, api_key=stranger)).status_code == 401
        made = await projection.api_key(key_id="npk_later")
        await self.status_of(panel, made, 200)

    @pytest.mark.parametrize(
        ("call", "permission"),
        [
            ("validate-license", "validate"),
            ("validate-licenses", "validate"),
            ("explain", "validate"),
            ("reserve", "reserve"),
            ("release", "reserve"),
            ("lease", "lease"),
        ],
    )
    async def test_each_call_needs_its_permission(
        self, panel: Panel, projection: Projection, call: str, permission: str
    ) -> None:
        key = await projection.api_key(permissions=PERMISSIONS - {permission})
        response = await panel.call(call, {}, api_key=key)
        assert (response.status_code, response.json()["code"]) == (403, "permission_missing")

    async def test_a_license_s_key_sees_that_license_alone(self, panel: Panel, projection: Projection) -> None:
        own, other = await projection.license(), await projection.license()
        key = await projection.api_key(license_hash=own.hash)
        bound = Panel(panel._client, key)
        assert (await bound.verdict(own))["code"] == "VALID"
        assert (await bound.verdict(other))["code"] == "NOT_FOUND"
        assert (await bound.reserve(other))["code"] == "NOT_FOUND"
        explained = await bound.call("explain", {"license_key": other.key, "feature": "a"})
        assert explained.json()["license_id"] is None


class TestRateLimit:
    async def test_a_license_s_key_is_told_what_is_left(self, panel: Panel, projection: Projection) -> None:
        issued = await projection.license()
        key = await projection.api_key(license_hash=issued.hash)
        content = {"license_key": issued.key, "feature": "create_database"}
        response = await panel.call("validate-license", content, api_key=key)
        assert response.headers["ratelimit-policy"] == '"license";q=6000;w=1'
        assert response.headers["ratelimit"].startswith('"license";r=5999')

    async def test_is_a_setting_and_beyond_it_is_too_much(
        self, hot_valkey: Valkey, projection: Projection, tmp_path: Path
    ) -> None:
        issued, platform = await projection.license(), await projection.api_key()
        key = await projection.api_key(license_hash=issued.hash)
        content = {"license_key": issued.key, "feature": "create_database"}
        with validator(hot_valkey.url, tmp_path / "log", NP_LICENSE_RATE="3") as process:
            assert ready(process.url)
            async with httpx.AsyncClient(base_url=process.url, timeout=5) as client:
                panel = Panel(client, key)
                batch = await panel.call("validate-licenses", {"items": [content] * 4})
                assert batch.status_code == 429
                assert batch.json()["conclusive"] is False
                assert int(batch.headers["retry-after"]) >= 1
                assert batch.headers["ratelimit-policy"] == '"license";q=3;w=1'
                assert (await panel.call("validate-licenses", {"items": [content] * 4}, api_key=platform)).is_success

    async def test_platform_keys_have_none(self, panel: Panel, projection: Projection) -> None:
        issued = await projection.license()
        response = await panel.call("validate-license", {"license_key": issued.key, "feature": "create_database"})
        assert "ratelimit" not in response.headers


class TestContents:
    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"[]",
            b"null",
            b'{"license_key":1,"feature":2}',
            b'{"license_key":"a"}',
            b'{"license_key":"a","feature":"b","extra":1}',
            b'{"license_key":"","feature":"b"}',
            b'{"license_key":"a","feature":"' + b"b" * 65 + b'"}',
            b'{"license_key":"\xff\xfe","feature":"b"}',
            b'{"license_key":"\\ud800","feature":"b"}',
            b"\xff\xfe",
            b'{"license_key":"a","feature":"b"} trailing',
            b'{"license_key":"' + b"A" * 60_000 + b'","feature":"b"}',
            b"[" * 60_000,
        ],
    )
    async def test_that_are_not_as_agreed_are_refused(self, panel: Panel, body: bytes) -> None:
        response = await panel.call("validate-license", body)
        assert response.status_code == 400
        assert response.json()["code"] == "invalid_input"

    async def test_a_body_beyond_all_measure_is_refused(self, panel: Panel) -> None:
        assert (await panel.call("validate-license", b"x" * 100_000)).status_code == 413

    @pytest.mark.parametrize(
        "change",
        [{"count": 0}, {"count": -1}, {"count": 1.5}, {"ttl": 0}, {"ttl": 61}, {"resource": "money"}, {"x": 1}],
    )
    async def test_reservations_are_checked(self, panel: Panel, projection: Projection, change: dict[str, Any]) -> None:
        issued = await projection.license()
        content = {"license_key": issued.key, "resource": "domains", "count": 1, "ttl": 30} | change
        response = await panel.call("reserve", content)
        assert response.status_code == 400

    @pytest.mark.parametrize(
        ("media_type", "status"),
        [
            ("application/json", 200),
            ("application/json; charset=utf-8", 200),
            ("Application/JSON;charset=UTF-8", 200),
            ("application/json; charset=latin-1", 415),
            ("text/plain", 415),
            ("application/x-www-form-urlencoded", 415),
        ],
    )
    async def test_are_json(self, client: httpx.AsyncClient, panel: Panel, media_type: str, status: int) -> None:
        body = json.dumps({"license_key": "a", "feature": "b"}).encode()
        headers = signed_headers(panel.api_key, VALIDATE, body) | {"Content-Type": media_type}
        assert (await client.post(VALIDATE, content=body, headers=headers)).status_code == status


class TestRoutes:
    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("POST", "/", 404),
            ("POST", VALIDATE + "/", 404),
            ("GET", VALIDATE, 405),
            ("PUT", VALIDATE, 405),
            ("POST", "/health/live", 405),
            ("HEAD", "/health/live", 200),
            ("GET", "/health/live?verbose=1", 200),
            ("GET", "/metrics", 404),
        ],
    )
    async def test_answer(self, client: httpx.AsyncClient, method: str, path: str, status: int) -> None:
        response = await client.request(method, path)
        assert response.status_code == status
        if status == 405:
            assert response.headers["allow"]
        if status >= 400:
            assert response.json()["conclusive"] is True

    async def test_readiness_is_told(self, client: httpx.AsyncClient) -> None:
        response = await eventually(lambda: client.get("/health/ready"), lambda got: got.status_code == 200)
        assert response.json() == {"status": "ok"}

    async def test_nothing_of_a_key_is_in_a_problem(self, panel: Panel) -> None:
        body = b'{"license_key":"NP-ABCD-EFGH-JKMN","feature":5}'
        assert "ABCD" not in (await panel.call("validate-license", body)).text
