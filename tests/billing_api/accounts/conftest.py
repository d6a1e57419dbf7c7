"""The wired application and people in front of it."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest
from litestar import Litestar

from billing_api.app import create_app
from core.clock import Clock
from core.ids import new_id
from core.settings import ApiSettings
from db.unit_of_work import Database
from tests.support.servers import DatabaseUrls
from tests.support.visitors import Mailbox, Visitor, alive, browser

Visitors = Callable[..., Visitor]


@pytest.fixture(scope="session")
async def app(settings: ApiSettings, app_clock: Clock) -> AsyncIterator[Litestar]:
    async with alive(create_app(settings, app_clock)) as app:
        yield app


@pytest.fixture
async def visitors(app: Litestar, database: Database, clock: Clock) -> AsyncIterator[Visitors]:
    """Makes visitors, each with a browser and, where none is given, an address of his own."""
    async with AsyncExitStack() as stack:

        def a_visitor(email: str | None = None, **headers: str) -> Visitor:
            web = browser(app, **headers)
            stack.push_async_callback(web.aclose)
            return Visitor(web, email or f"{new_id().hex}@example.com")

        yield a_visitor


@pytest.fixture
def visitor(visitors: Visitors) -> Visitor:
    return visitors()


@pytest.fixture
def mailbox(database_urls: DatabaseUrls, settings: ApiSettings) -> Mailbox:
    return Mailbox(database_urls, settings.secrets)


@pytest.fixture
async def ada(visitor: Visitor, mailbox: Mailbox) -> Visitor:
    """Registered, her address proved, not signed in."""
    assert (await visitor.register()).status_code == 201
    (token,) = await mailbox.tokens(visitor.email)
    assert (await visitor.verify(token)).status_code == 200
    return visitor
