"""Fairness: calls of one customer that wait for Stripe take no connection from other customers."""

import asyncio
from collections import Counter

import httpx
import pytest
from sqlalchemy import text

from billing_api.commerce.stripe_mirror.service import Mirror, StripeObject
from billing_api.gateways.stripe.client import StripeGateway
from billing_api.server.wiring.infrastructure import Infrastructure
from core.errors import Busy
from core.settings import ApiSettings
from db.engine import POOL_SIZE
from db.unit_of_work import Database
from tests.billing_api.conftest import Buying, FakeTime
from tests.support.buyer import PATH
from tests.support.databases import opened, rows
from tests.support.people import Desk
from tests.support.servers import DatabaseUrls

pytestmark = pytest.mark.usefixtures("on_sale")

_CUSTOMER = "SELECT pg_advisory_xact_lock(hashtextextended('stripe customer ' || :customer, 0))"


async def test_sixty_previews_of_one_customer_leave_the_database_to_others(
    buyer: Buying, desk: Desk, stripe_simulator: str
) -> None:
    one = await buyer("Starter")
    other = await desk.a_customer()
    wish = {"plan_id": await one.plan_id("Professional"), "interval": "month"}
    fault = {"kind": "delay", "method": "GET", "path": "/v1/*", "delay_ms": 1000, "times": 1000}
    assert (await one.browser.post(f"{stripe_simulator}/_sim/faults", json=fault)).is_success
    try:
        preview = [
            asyncio.create_task(one.client.post(f"{PATH}/{one.id}/preview-change", json=wish, headers=one.me))
            for _ in range(60)
        ]
        seen: list[int] = []
        while not all(task.done() for task in preview[5:]) or len(seen) < 10:
            seen.append((await one.client.get("/api/v1/licenses", headers=other)).status_code)
            await asyncio.sleep(0.05)
        answers = await asyncio.gather(*preview)
    finally:
        await one.browser.delete(f"{stripe_simulator}/_sim/faults")
    assert Counter(seen) == {200: len(seen)}
    busy = [answer for answer in answers if answer.status_code != 200]
    assert {answer.status_code for answer in busy} <= {503}
    assert {(answer.headers["retry-after"], answer.json()["conclusive"]) for answer in busy} == {("1", False)}
    codes = Counter(answer.json()["code"] for answer in busy)
    assert codes["busy"] >= 55  # one is at Stripe and four wait, some of them for longer than there is time for Stripe


async def test_a_lock_that_another_process_holds_is_waited_for_without_a_connection(
    buyer: Buying, settings: ApiSettings, stripe: StripeGateway, clock: FakeTime, database_urls: DatabaseUrls
) -> None:
    one = await buyer("Starter")
    subject = StripeObject("subscription", one.stripe_id, one.customer)
    async with opened(database_urls, pool_size=1) as database, opened(database_urls, pool_size=1) as elsewhere:
        mirror = Mirror(database, stripe, settings.secrets, clock)
        async with elsewhere.as_system() as holder:
            key = {"customer": one.customer}
            await holder.session.execute(text(_CUSTOMER), key)
            waiting = asyncio.create_task(mirror.mirror(subject))
            for _ in range(20):
                async with database.as_system() as tx:  # there is one connection, and it is free again and again
                    await tx.session.execute(text("SELECT 1"))
            assert await rows(database_urls, "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted") == []
            assert not waiting.done()
        await waiting


async def test_a_call_that_waited_too_long_is_busy(
    buyer: Buying, settings: ApiSettings, stripe: StripeGateway, clock: FakeTime, database: Database
) -> None:
    one = await buyer("Starter")
    mirror = Mirror(database, stripe, settings.secrets, clock, within=0.3)
    async with database.as_system() as holder:
        await holder.session.execute(text(_CUSTOMER), {"customer": one.customer})
        with pytest.raises(Busy):
            await mirror.mirror(StripeObject("subscription", one.stripe_id, one.customer))


async def test_four_customers_at_stripe_make_the_fifth_wait_without_a_connection(
    settings: ApiSettings, stripe: StripeGateway, clock: FakeTime, database_urls: DatabaseUrls
) -> None:
    async with opened(database_urls, pool_size=5) as database:
        mirror = Mirror(database, stripe, settings.secrets, clock)
        inside, leave = 0, asyncio.Event()

        async def at_stripe(customer: str) -> None:
            nonlocal inside
            async with mirror.exclusive(customer):
                inside += 1
                await leave.wait()

        async with asyncio.TaskGroup() as group:
            for number in range(12):
                group.create_task(at_stripe(f"cus_{number}"))
            async with asyncio.timeout(10):
                while inside < 4:  # noqa: ASYNC110  the tasks only count, they set no event
                    await asyncio.sleep(0.01)
            async with database.as_system() as tx:
                await tx.session.execute(text("SELECT 1"))
            assert inside == 4
            leave.set()
        assert inside == 12


async def test_a_full_pool_has_a_code_of_its_own(
    client: httpx.AsyncClient, desk: Desk, infrastructure: Infrastructure
) -> None:
    staff = await desk.staff()  # what customers read has connections of its own
    engine = infrastructure.database.engine
    held = [await engine.connect() for _ in range(POOL_SIZE)]
    try:
        answer = await client.get("/api/v1/admin/licenses", headers=staff)
    finally:
        for connection in held:
            await connection.close()
    assert (answer.status_code, answer.json()["code"], answer.json()["conclusive"]) == (503, "busy", False)
    assert int(answer.headers["retry-after"]) >= 1
