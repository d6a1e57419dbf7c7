"""Fixtures of the lease tests."""

import pytest
from redis.asyncio import Redis

from billing_api.licensing.licenses.issuing import Issued
from core.clock import utc_now
from core.hotstore.writer import Writer
from db.unit_of_work import Database
from tests.support.people import Desk
from tests.support.servers import DatabaseUrls
from tests.workers.projection.lease_world import LeaseWorld


@pytest.fixture
def world(database_urls: DatabaseUrls, redis: Redis, database: Database, writer: Writer) -> LeaseWorld:
    return LeaseWorld(database_urls, redis, database, writer)


@pytest.fixture
async def issued(world: LeaseWorld, desk: Desk) -> Issued:
    made = await desk.a_license(await desk.a_user())
    world.now = utc_now()
    return made
