"""Provisioning client, against NextPanel's simulator, which checks tokens, keys and bodies strictly."""

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from billing_api.gateways.http_client import PartnerRefused, Retryable
from billing_api.gateways.nextpanel import AccountOrder, NextPanelGateway, PlanChange
from core.clock import utc_now
from core.ids import new_id
from devstack.ports import choose
from tests.support.environment import NEXTPANEL_SECRET
from tests.support.processes import module


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, port = tmp_path_factory.mktemp("nextpanel"), choose("127.0.0.1")
    url = f"http://127.0.0.1:{port}"
    flags = ("--port", str(port), "--data", str(folder), "--jwt-secret", NEXTPANEL_SECRET)
    with module("devstack.simulators.nextpanel", *flags, health=f"{url}/health/ready", log=folder / "log"):
        yield url


@pytest.fixture
async def gateway(simulator: str) -> AsyncIterator[NextPanelGateway]:
    gateway = NextPanelGateway(simulator, NEXTPANEL_SECRET, utc_now)
    yield gateway
    await gateway.close()


def an_order() -> AccountOrder:
    return AccountOrder(license_id=new_id(), user_email="a@example.com", plan="starter", features={"backups": True})


async def account(simulator: str, order: AccountOrder) -> dict[str, Any]:
    async with httpx.AsyncClient() as client:
        items = (await client.get(f"{simulator}/_sim/accounts")).json()["items"]
    found: dict[str, Any] = next(item for item in items if item["license_id"] == str(order.license_id))
    return found


async def test_an_account_is_made_once_under_its_key(gateway: NextPanelGateway, simulator: str) -> None:
    order = an_order()
    first = await gateway.provision(order, key=f"provision-{order.license_id}")
    again = await gateway.provision(order, key=f"provision-{order.license_id}")
    assert first == again
    assert first.login_url.startswith(simulator)
    made = await account(simulator, order)
    assert made["nextpanel_account_id"] == str(first.nextpanel_account_id)
    assert (made["user_email"], made["plan"], made["features"]) == ("a@example.com", "starter", {"backups": True})
    assert made["effects"] == 1


async def test_an_account_follows_its_license(gateway: NextPanelGateway, simulator: str) -> None:
    order = an_order()
    await gateway.provision(order, key="p")
    await gateway.suspend(order.license_id, key=f"s-{order.license_id}")
    assert (await account(simulator, order))["status"] == "suspended"
    await gateway.resume(order.license_id, key=f"r-{order.license_id}")
    assert (await account(simulator, order))["status"] == "active"
    await gateway.change_plan(PlanChange(order.license_id, "enterprise", {}), key=f"c-{order.license_id}")
    assert (await account(simulator, order))["plan"] == "enterprise"
    await gateway.terminate(order.license_id, key=f"t-{order.license_id}")
    assert (await account(simulator, order))["status"] == "terminated"
    with pytest.raises(PartnerRefused, match="does not come back"):
        await gateway.resume(order.license_id, key=f"r2-{order.license_id}")


async def test_a_refusal_names_its_reason_and_status(gateway: NextPanelGateway) -> None:
    with pytest.raises(PartnerRefused, match="No account was provisioned") as caught:
        await gateway.suspend(new_id(), key="nobody")
    assert caught.value.answered == 404


@pytest.mark.parametrize("age", [timedelta(minutes=2), timedelta(0)])
async def test_a_token_lives_for_a_minute(simulator: str, age: timedelta) -> None:
    gateway = NextPanelGateway(simulator, NEXTPANEL_SECRET, lambda: utc_now() - age)
    order = an_order()
    if age:
        with pytest.raises(Retryable, match="401"):  # about our credentials, not about this order
            await gateway.provision(order, key=f"old-{order.license_id}")
    else:
        assert await gateway.provision(order, key=f"new-{order.license_id}")
    await gateway.close()


async def test_a_foreign_secret_is_not_the_orders_fault(simulator: str) -> None:
    gateway = NextPanelGateway(simulator, "another-secret-that-is-long-enough", utc_now)
    with pytest.raises(Retryable, match="401"):
        await gateway.provision(an_order(), key="foreign")
    await gateway.close()


@pytest.mark.parametrize("body", ["<html>Welcome to the hotel's network</html>", '{"login_url": 1}', ""])
async def test_an_answer_that_is_none_leaves_everything_open(partner: Any, body: str) -> None:
    gateway = NextPanelGateway(partner.url, NEXTPANEL_SECRET, utc_now)
    partner.says(200, body)
    with pytest.raises(Retryable, match="cannot be read"):
        await gateway.provision(an_order(), key="k")
    await gateway.close()


async def test_a_login_link_is_a_web_address(partner: Any) -> None:
    gateway = NextPanelGateway(partner.url, NEXTPANEL_SECRET, utc_now)
    partner.says(200, f'{{"nextpanel_account_id":"{new_id()}","login_url":"javascript:alert(1)"}}')
    with pytest.raises(Retryable, match="cannot be read"):
        await gateway.provision(an_order(), key="k")
    await gateway.close()
