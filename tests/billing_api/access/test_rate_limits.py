"""Rate limits over HTTP: which clients are counted together, and what they are told; with and without Redis."""

import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from ipaddress import ip_network
from typing import Any, Final

import httpx
import pytest
from litestar import Litestar, get

from billing_api.access.permissions import Permission
from billing_api.licensing.usage.fast_path import PATH
from billing_api.server.app import create_app, require_limits
from core.rate_limit import Quota
from core.settings import LIMITS, ApiSettings
from db.models.licensing import LicenseType
from tests.billing_api.conftest import Client, FakeTime
from tests.billing_api.licensing.usage.test_fast_path import Panel
from tests.billing_api.licensing.usage.test_usage import an_api_key
from tests.billing_api.operations.webhooks.test_receiving import an_event, signature
from tests.support.people import Desk
from tests.support.visitors import alive, browser

PLANS: Final = "/api/v1/plans"
Served = Callable[..., AbstractAsyncContextManager[Client]]


@pytest.fixture
def served(settings: ApiSettings, app_clock: FakeTime, valkey: str) -> Served:
    """A process with these limits that trusts a proxy at 127.0.0.1, which the test's client plays."""

    @asynccontextmanager
    async def serve(redis: str = valkey, **limits: tuple[int, int]) -> AsyncIterator[Client]:
        quotas = {**settings.limits, **{name: Quota(*quota) for name, quota in limits.items()}}
        behind = (ip_network("127.0.0.1/32"),)
        changed = replace(settings, limits=quotas, queue_redis_url=redis, trusted_proxies=behind)
        async with alive(create_app(changed, app_clock)) as app, browser(app) as client:
            yield client

    return serve


def forwarded_for(address: str) -> dict[str, str]:
    return {"X-Forwarded-For": address}


async def statuses(client: Client, number: int, path: str = PLANS, **headers: str) -> list[int]:
    return [(await client.get(path, headers=headers)).status_code for _ in range(number)]


def test_the_defaults_are_those_of_the_design() -> None:
    assert (LIMITS["user"], LIMITS["address"]) == (Quota(100, 60), Quota(1_000, 60))
    assert LIMITS["webhook_failures"] == Quota(1_000, 3_600)
    assert LIMITS["signature_failures"] == Quota(60, 60)


@pytest.mark.parametrize(
    ("permission", "declared", "fault"),
    [
        (Permission.PUBLIC, {"limit": "no-such-limit"}, "/forgotten declares a limit that does not exist"),
        (Permission.SIGNED, {"failures": "no-such-limit"}, "/forgotten declares a limit that does not exist"),
        (Permission.SIGNED, {}, "/forgotten is signed and declares no limit of failures"),
    ],
)
def test_an_application_whose_route_names_no_limit_of_ours_does_not_start(
    permission: Permission, declared: dict[str, str], fault: str
) -> None:
    opt: dict[str, Any] = {"permission": permission} | declared

    @get("/forgotten", opt=opt)
    async def forgotten() -> str:
        return "as often as one likes"

    with pytest.raises(RuntimeError, match=fault):
        require_limits(Litestar([forgotten], openapi_config=None))


async def test_an_address_has_its_quota_and_is_told_of_it(served: Served) -> None:
    async with served(address=(3, 600)) as client:
        first = await client.get(PLANS, headers=forwarded_for("198.51.100.1"))
        assert first.headers["ratelimit-policy"] == '"address";q=3;w=600'
        assert first.headers["ratelimit"] == '"address";r=2;t=200'
        assert await statuses(client, 2, **forwarded_for("198.51.100.1")) == [200, 200]
        refused = await client.get(PLANS, headers=forwarded_for("198.51.100.1"))
        assert (refused.status_code, refused.json()["code"]) == (429, "too_many_requests")
        assert refused.headers["content-type"] == "application/problem+json"
        assert 190 < int(refused.headers["retry-after"]) <= 200
        assert refused.headers["ratelimit"].startswith('"address";r=0;t=')
        assert refused.headers["ratelimit-policy"] == '"address";q=3;w=600'
        assert "'address' is 3 requests in 600 seconds" in refused.json()["detail"]
        assert await statuses(client, 1, **forwarded_for("198.51.100.2")) == [200]


async def test_an_ipv6_subscriber_is_one(served: Served) -> None:
    async with served(address=(2, 600)) as client:
        assert await statuses(client, 1, **forwarded_for("2001:db8:0:1::1")) == [200]
        assert await statuses(client, 1, **forwarded_for("2001:db8:0:1:ffff::2")) == [200]
        assert await statuses(client, 1, **forwarded_for("2001:db8:0:1::3")) == [429]
        assert await statuses(client, 1, **forwarded_for("2001:db8:0:2::1")) == [200]


async def test_a_client_that_invents_addresses_gets_no_more(served: Served) -> None:
    async with served(address=(2, 600)) as client:
        told = [f"10.0.0.{n}, 198.51.100.1" for n in range(4)]
        answers = [(await client.get(PLANS, headers=forwarded_for(text))).status_code for text in told]
        assert answers == [200, 200, 429, 429]


async def test_a_user_is_one_from_wherever_he_comes(served: Served, desk: Desk) -> None:
    ada, bob = await desk.a_customer(), await desk.a_customer()
    async with served(user=(2, 600)) as client:
        answers = [await client.get("/api/v1/me", headers=ada | forwarded_for(f"198.51.100.{n}")) for n in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert re.fullmatch(r'"address";q=\d+;w=60, "user";q=2;w=600', answers[2].headers["ratelimit-policy"])
        assert await statuses(client, 1, "/api/v1/me", **bob) == [200]


async def test_a_forged_token_spends_nobodys_quota(served: Served, desk: Desk) -> None:
    ada = await desk.a_customer()
    forged = {"Authorization": ada["Authorization"][:-8] + "AAAAAAAA"}
    async with served(user=(1, 600)) as client:
        assert await statuses(client, 3, "/api/v1/me", **forged) == [401] * 3
        assert await statuses(client, 1, "/api/v1/me", **ada) == [200]


@pytest.mark.parametrize(
    ("path", "limit"),
    [
        ("/api/v1/auth/login", "login"),
        ("/api/v1/auth/register", "register"),
        ("/api/v1/auth/verify-email", "password"),
        ("/api/v1/nextpanel/activate", "activation"),
    ],
)
async def test_where_guesses_and_mails_are_to_be_had_the_limit_is_tighter(
    served: Served, path: str, limit: str
) -> None:
    async with served(**{limit: (2, 600)}) as client:
        answers = [(await client.post(path, json={})).status_code for _ in range(3)]
        assert answers == [400, 400, 429]
        assert await statuses(client, 1) == [200]


async def test_processes_share_the_quota(served: Served) -> None:
    async with served(address=(10, 600)) as one, served(address=(10, 600)) as other:
        answers = [(await (one, other)[n % 2].get(PLANS)).status_code for n in range(20)]
        assert answers == [200] * 10 + [429] * 10


async def test_with_redis_away_each_process_counts_for_itself(served: Served) -> None:
    async with served("redis://127.0.0.1:1", address=(3, 600)) as one:
        assert await statuses(one, 4) == [200, 200, 200, 429]
        refused = await one.get(PLANS)
        assert refused.headers["ratelimit-policy"] == '"address";q=3;w=600'
        assert int(refused.headers["retry-after"]) > 100
        async with served("redis://127.0.0.1:1", address=(3, 600)) as other:
            assert await statuses(other, 1) == [200]


async def test_health_and_signed_calls_are_not_counted(served: Served) -> None:
    async with served(address=(1, 600)) as client:
        assert await statuses(client, 3, "/health/live") == [200] * 3
        reports = [await client.post("/api/v1/billing/usage", json={}) for _ in range(3)]
        assert [report.json()["code"] for report in reports] == ["invalid_signature"] * 3
        assert '"address"' not in reports[0].headers["ratelimit"]
        assert await statuses(client, 2) == [200, 429]


async def test_webhooks_are_counted_where_the_signature_fails_and_never_turned_away_where_it_holds(
    served: Served,
) -> None:
    path, good = "/api/v1/webhooks/stripe", an_event()

    async def send(client: Client, header: str) -> httpx.Response:
        return await client.post(path, content=good, headers={"Stripe-Signature": header})

    async with served(webhook_failures=(2, 3600), address=(1, 600)) as client:
        for _ in range(3):
            assert (await send(client, signature(good))).status_code == 200
        answers = [(await send(client, "t=1,v1=00")).status_code for _ in range(4)]
        assert answers == [400, 400, 429, 429]
        assert (await send(client, signature(good))).status_code == 200


async def test_signatures_are_counted_where_they_fail_and_never_turned_away_where_they_hold(
    served: Served, desk: Desk
) -> None:
    """On the fast path and in the framework (a request with `Origin`); Redis counts both together."""
    issued = await desk.a_license(await desk.a_user(), LicenseType.STARTER)
    key_id, here = await an_api_key(desk), forwarded_for("198.51.100.77")

    async def send(client: Client, key: str, **headers: str) -> httpx.Response:
        panel = Panel(client, key_id, issued.key)
        report = json.dumps(panel.report).encode()
        return await client.post(PATH, content=report, headers=panel.headers(report, key) | here | headers)

    async def fail(client: Client, **headers: str) -> httpx.Response:
        return await client.post(PATH, json={}, headers=here | headers)

    async with served(signature_failures=(2, 3600), address=(1, 600)) as client:
        failed = [await fail(client), await fail(client, Origin="https://x.test"), await fail(client)]
        assert [answer.status_code for answer in failed] == [401, 401, 429]
        assert failed[2].json()["code"] == "too_many_requests"
        assert failed[2].headers["ratelimit"].startswith('"signature_failures";r=0;t=')
        assert 1_700 < int(failed[2].headers["retry-after"]) <= 1_800
        assert [(await send(client, f"r-{n}")).status_code for n in range(3)] == [200] * 3
        assert (await send(client, "r-4", Origin="https://x.test")).status_code == 200
        assert (await send(client, "r-5", **{"NP-Signature": "k=npk_0000000000000000"})).status_code == 429


async def test_every_route_tells_of_429(app: Litestar, client: Client) -> None:
    schema = (await client.get("/schema/openapi.json")).json()
    for path, operations in schema["paths"].items():
        if path.startswith("/api/"):
            assert all("429" in operation["responses"] for operation in operations.values()), path
