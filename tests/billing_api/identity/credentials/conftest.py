"""Fixtures of credentials: do a worker's part of the jobs that mail reset links."""

from collections.abc import Awaitable, Callable

import pytest

from billing_api.server.wiring.services import Services
from core.jobs import MailResetLink, from_row
from tests.support.databases import rows
from tests.support.servers import DatabaseUrls

Work = Callable[[], Awaitable[int]]


@pytest.fixture
def work(services: Services, database_urls: DatabaseUrls) -> Work:
    """Performs every job that mails a link, also those that were performed before. Returns their number."""

    async def perform() -> int:
        jobs = [from_row(row["job"]) for row in await rows(database_urls, "SELECT job FROM outbox ORDER BY id")]
        asked = [job for job in jobs if isinstance(job, MailResetLink)]
        for job in asked:
            await services.identity.reset_links.perform(job)
        return len(asked)

    return perform
