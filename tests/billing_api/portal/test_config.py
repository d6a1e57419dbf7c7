"""Portal configuration: public, the same for everybody, and kept by caches."""

import asyncio

import httpx

from billing_api.portal.config.service import PortalConfigService
from billing_api.server.wiring.infrastructure import Infrastructure
from core.portal_settings import PortalSettings
from tests.billing_api.conftest import Client
from tests.support.databases import change
from tests.support.environment import PUBLISHABLE_KEY
from tests.support.people import Desk
from tests.support.servers import DatabaseUrls

PATH = "/api/v1/config"


async def until_currencies_are(client: Client, *currencies: str) -> None:
    """A process shows a change within a second."""
    async with asyncio.timeout(10):
        while (await client.get(PATH)).json()["currencies"] != [*currencies]:  # noqa: ASYNC110  it tells nobody
            await asyncio.sleep(0.05)


async def test_everybody_is_told_what_is_switched_on(client: Client) -> None:
    answer = await client.get(PATH)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == {
        "stripe_publishable_key": PUBLISHABLE_KEY,
        "features": {
            "registration": True,
            "sign_in": ["password"],
            "second_factors": ["totp"],
            "staff_second_factor": False,
            "oauth_clients": True,
            "domains": False,
        },
        "seller": {"name": None, "support_email": None},
        "currencies": ["usd"],
        "locales": ["en"],
    }


async def test_a_stale_token_is_no_obstacle_and_changes_nothing(client: Client, desk: Desk) -> None:
    plain = await client.get(PATH)
    for headers in ({"Authorization": "Bearer stale"}, await desk.staff()):
        assert (await client.get(PATH, headers=headers)).content == plain.content


async def test_seller_and_features_come_from_settings(infrastructure: Infrastructure) -> None:
    settings = PortalSettings(None, "Höchst AG", "help@example.com")
    told = await PortalConfigService(infrastructure.system_reads, settings, staff_second_factor=True).read()
    assert (told.stripe_publishable_key, told.features.staff_second_factor) == (None, True)
    assert (told.seller.name, told.seller.support_email) == ("Höchst AG", "help@example.com")


async def test_currencies_are_those_of_plans_on_sale(client: Client, database_urls: DatabaseUrls) -> None:
    await change(database_urls, "UPDATE plans SET currency = 'eur' WHERE name = 'Starter'")
    await change(database_urls, "UPDATE plans SET currency = 'jpy', is_active = false WHERE name = 'Enterprise'")
    try:
        await until_currencies_are(client, "eur", "usd")
    finally:  # plans come from a migration and outlast a test
        await change(database_urls, "UPDATE plans SET currency = 'usd', is_active = true")
        await until_currencies_are(client, "usd")


async def test_caches_keep_it_and_ask_whether_it_has_changed(client: Client, database_urls: DatabaseUrls) -> None:
    first = await client.get(PATH)
    assert first.headers["cache-control"] == "public, max-age=300"
    assert first.headers["vary"] == "Accept-Encoding, Origin", "another origin's page gets other headers"
    tag = first.headers["etag"]
    for given in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = await client.get(PATH, headers={"If-None-Match": given})
        assert (again.status_code, again.content) == (304, b""), given
        assert (again.headers["etag"], again.headers["cache-control"]) == (tag, "public, max-age=300")
        assert "content-type" not in again.headers
    await change(database_urls, "UPDATE plans SET currency = 'eur'")
    try:
        await until_currencies_are(client, "eur")
        changed = await client.get(PATH, headers={"If-None-Match": tag})
    finally:
        await change(database_urls, "UPDATE plans SET currency = 'usd'")
        await until_currencies_are(client, "usd")
    assert changed.status_code == 200
    assert changed.headers["etag"] != tag


async def test_it_can_be_asked_for_its_head(client: Client) -> None:
    head = await client.head(PATH)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["etag"] == (await client.get(PATH)).headers["etag"]


async def test_a_filter_is_refused(client: Client) -> None:
    refused: httpx.Response = await client.get(PATH, params={"locale": "de"})
    assert (refused.status_code, refused.headers["cache-control"]) == (400, "no-store")
