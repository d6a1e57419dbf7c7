"""Fixtures of purchases in detail."""

from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import httpx
import pytest

from billing_api.commerce.stripe_mirror.service import Mirror
from billing_api.gateways.stripe.client import StripeGateway
from db.unit_of_work import Database
from tests.billing_api.commerce.shop import Shopper, sold_differently
from tests.billing_api.conftest import Client, FakeTime
from tests.support.people import Desk
from tests.support.servers import DatabaseUrls

Shoppers = Callable[[], Coroutine[Any, Any, Shopper]]


@pytest.fixture
def shoppers(
    client: Client, browser: httpx.AsyncClient, stripe_simulator: str, mirror: Mirror, desk: Desk, clock: FakeTime
) -> Shoppers:
    async def made() -> Shopper:
        return Shopper(client, browser, stripe_simulator, mirror, desk, clock, await desk.a_user())

    return made


@pytest.fixture
async def shopper(shoppers: Shoppers) -> Shopper:
    return await shoppers()


@pytest.fixture
async def with_trial(database_urls: DatabaseUrls, database: Database, stripe: StripeGateway) -> AsyncIterator[None]:
    """Starter may be tried for 14 days."""
    async with sold_differently(database_urls, database, stripe, "trial_days = 14"):
        yield


@pytest.fixture
async def in_euro(database_urls: DatabaseUrls, database: Database, stripe: StripeGateway) -> AsyncIterator[None]:
    """Starter costs 31 dollars, 27 euro or 4,000 yen a month. Other tests find its usual price by its amount."""
    prices = '{"eur": {"month": 2700, "year": 27000}, "jpy": {"month": 4000, "year": 40000}}'
    changes = f"currency_prices = '{prices}', price_monthly = 3100, price_yearly = 31000".replace(":", r"\:")
    async with sold_differently(database_urls, database, stripe, changes):
        yield
