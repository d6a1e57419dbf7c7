"""The billing API and the validator side by side, with the same keys behind them."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from core.clock import utc_now
from core.settings import api_settings
from db.models.licensing import LicenseType
from devstack.ports import choose
from devstack.valkey import Valkey
from tests.billing_api.licensing.usage.test_usage import an_api_key
from tests.contract.doors import HOST, Door
from tests.support.databases import opened
from tests.support.environment import environment
from tests.support.people import Desk
from tests.support.processes import module
from tests.support.servers import DatabaseUrls, running
from tests.validator.stage import Projection, ready, relayed, sealed, validator


@pytest.fixture(scope="module")
async def doors(
    database_urls: DatabaseUrls, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Door, Door]]:
    folder = tmp_path_factory.mktemp("doors")
    valkey = Valkey(data=folder, port=choose(HOST), fast=True)
    port = choose(HOST)
    env = environment(database_urls, redis_url=valkey.url, NP_API_PORT=str(port), NP_API_PROCESSES="1")
    with running(valkey, folder / "valkey.log"):
        async with opened(database_urls) as database, Redis.from_url(valkey.url) as redis:
            desk, projection = Desk(api_settings(env), database, utc_now), Projection(redis)
            await projection.load()
            issued = await desk.a_license(await desk.a_user(), LicenseType.STARTER)
            strong, weak = await an_api_key(desk), await an_api_key(desk, permissions=[])
            distant = await an_api_key(desk, networks=["203.0.113.0/24"])
            for key_id, permissions, networks in (
                (strong, frozenset({"validate"}), ()),
                (weak, frozenset[str](), ()),
                (distant, frozenset({"validate"}), ("203.0.113.0/24",)),
            ):
                secret = sealed(key_id, "panel-secret")
                await projection.api_key(
                    key_id=key_id, current_secret=secret, permissions=permissions, networks=networks
                )
            with (
                relayed(valkey.url),
                validator(valkey.url, folder / "validator.log") as process,
                module("billing_api", health=f"http://{HOST}:{port}/health/live", log=folder / "api.log", env=env),
            ):
                assert ready(process.url)
                yield (
                    _billing_api(port, issued.key, strong, weak, distant),
                    _validator(process.port, issued.key, strong, weak, distant),
                )


def _billing_api(port: int, license_key: str, strong: str, weak: str, distant: str) -> Door:
    report = {"license_key": license_key, "resource": "databases", "action": "created", "count": 1}
    return Door("billing_api", port, "/api/v1/billing/usage", report, strong, weak, distant)


def _validator(port: int, license_key: str, strong: str, weak: str, distant: str) -> Door:
    question = {"license_key": license_key, "feature": "create_database"}
    return Door("validator", port, "/api/v1/nextpanel/validate-license", question, strong, weak, distant)


@pytest.fixture(params=[0, 1], ids=["billing_api", "validator"])
def door(doors: tuple[Door, Door], request: pytest.FixtureRequest) -> Door:
    return doors[int(request.param)]
