"""Allowed networks of API keys: a call with a right signature from another network is refused."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from devstack.valkey import Valkey
from tests.validator.stage import HOST, PATH, Panel, Projection, Running, eventually, ready, signed_headers, validator

FOREIGN = ("203.0.113.0/24", "2001:db8::/32")
QUESTION = {"license_key": "NP-0000-0000-0000", "feature": "a"}
CALLS: dict[str, dict[str, Any]] = {
    "validate-license": QUESTION,
    "validate-licenses": {"items": [QUESTION]},
    "explain": QUESTION,
    "reserve": {"license_key": "NP-0000-0000-0000", "resource": "domains", "count": 1, "ttl": 5},
    "release": {"license_key": "NP-0000-0000-0000", "reservation_id": "0" * 32},
    "lease": {"license_key": "NP-0000-0000-0000"},
}


@pytest.mark.parametrize("call", CALLS)
async def test_from_another_network_every_call_is_refused(panel: Panel, projection: Projection, call: str) -> None:
    key = await projection.api_key(networks=FOREIGN)
    for _ in range(2):  # the key is looked up, then in memory
        refused = await panel.call(call, CALLS[call], api_key=key)
        problem = refused.json()
        assert (refused.status_code, problem["code"], problem["conclusive"]) == (403, "network_not_allowed", True)
        assert HOST in problem["detail"]
        assert FOREIGN[0] not in refused.text


@pytest.mark.parametrize("allowed", ["127.0.0.1/32", "127.0.0.0/8", "::ffff:127.0.0.0/104", "0.0.0.0/0"])
async def test_from_its_own_network_a_key_works(panel: Panel, projection: Projection, allowed: str) -> None:
    key = await projection.api_key(networks=(*FOREIGN, allowed))
    assert (await panel.call("validate-license", QUESTION, api_key=key)).status_code == 200


async def test_a_wrong_signature_tells_nothing_of_networks(panel: Panel, projection: Projection) -> None:
    key = await projection.api_key(networks=FOREIGN)
    wrong = key._replace(secret="guessed")
    assert (await panel.call("validate-license", QUESTION, api_key=wrong)).json()["code"] == "invalid_signature"


async def test_a_change_of_networks_is_heard_of_at_once(panel: Panel, projection: Projection) -> None:
    key = await projection.api_key()
    assert (await panel.call("validate-license", QUESTION, api_key=key)).status_code == 200

    async def now_allowed(networks: tuple[str, ...], status: int) -> None:
        await projection.change_api_key(key, networks=networks)
        await eventually(
            lambda: panel.call("validate-license", QUESTION, api_key=key),
            lambda answer: answer.status_code == status,
        )

    await now_allowed(FOREIGN, 403)
    await now_allowed((), 200)


@pytest.fixture(scope="module")
def behind_a_proxy(
    hot_valkey: Valkey, projection: Projection, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    with validator(hot_valkey.url, tmp_path_factory.mktemp("proxied") / "log", NP_TRUSTED_PROXIES=f"{HOST}/32") as one:
        assert ready(one.url)
        yield one


@pytest.mark.parametrize(
    ("forwarded", "status"),
    [
        ("203.0.113.9", 200),
        ("::ffff:203.0.113.9", 200),
        ("2001:DB8:0::7", 200),
        ("203.0.114.9", 403),
        ("203.0.113.9, 198.51.100.1", 403),
        ("198.51.100.1, 203.0.113.9", 200),
        ("nonsense", 403),
        (None, 403),
    ],
)
async def test_behind_a_proxy_its_word_counts_and_no_other(
    behind_a_proxy: Running, projection: Projection, forwarded: str | None, status: int
) -> None:
    key = await projection.api_key(networks=FOREIGN)
    body = b'{"license_key":"NP-0000-0000-0000","feature":"a"}'
    headers = signed_headers(key, f"{PATH}validate-license", body)
    async with httpx.AsyncClient(base_url=behind_a_proxy.url, timeout=5) as client:
        more = {} if forwarded is None else {"X-Forwarded-For": forwarded}
        answer = await client.post(f"{PATH}validate-license", content=body, headers=headers | more)
    assert answer.status_code == status, answer.text
