"""The billing API on real parts: this worker's PostgreSQL, a Stripe simulator in a process of its own."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Any

import httpx
import pytest
from litestar import Litestar

from billing_api.commerce.plans.service import PlanService
from billing_api.commerce.stripe_mirror.service import Mirror
from billing_api.gateways.stripe.client import StripeGateway
from billing_api.server.app import create_app
from billing_api.server.wiring.infrastructure import Infrastructure
from billing_api.server.wiring.services import Services
from core.clock import utc_now
from core.ids import new_id
from core.settings import ApiSettings, api_settings
from db.unit_of_work import Database
from devstack.ports import choose
from tests.support.buyer import Buyer
from tests.support.databases import opened
from tests.support.environment import STRIPE_KEY, environment
from tests.support.errands import Errands
from tests.support.people import Desk
from tests.support.processes import module
from tests.support.servers import DatabaseUrls
from tests.support.visitors import Mailbox, Visitor
from tests.support.visitors import browser as a_browser

Client = httpx.AsyncClient
Buying = Callable[..., Coroutine[Any, Any, Buyer]]
Visitors = Callable[..., Visitor]


class FakeTime:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.now = utc_now()

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture(scope="session")
def app_clock() -> FakeTime:
    """The application's, which is made once."""
    return FakeTime()


@pytest.fixture
def clock(app_clock: FakeTime) -> FakeTime:
    """Set to the real time; the application under test goes by it."""
    app_clock.reset()
    return app_clock


@pytest.fixture(scope="session")
def stripe_port() -> int:
    """Where the simulator is, once a test has asked for it; until then nobody answers there."""
    return choose("127.0.0.1")


@pytest.fixture(scope="session")
def stripe_simulator(stripe_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The simulator's address. It has no webhook endpoint: what it would tell, tests say themselves."""
    folder = tmp_path_factory.mktemp("stripe")
    url = f"http://127.0.0.1:{stripe_port}"
    flags = ("--port", str(stripe_port), "--data", str(folder), "--api-key", STRIPE_KEY)
    with module("devstack.simulators.stripe", *flags, health=f"{url}/health/ready", log=folder / "log"):
        yield url


@pytest.fixture(scope="session")
def settings(database_urls: DatabaseUrls, valkey_url: str, stripe_port: int) -> ApiSettings:
    """The queue's Redis is there, where limits and sessions are; the hot store is not."""
    more = {"STRIPE_API_BASE": f"http://127.0.0.1:{stripe_port}", "QUEUE_REDIS_URL": valkey_url}
    return api_settings(environment(database_urls, redis_url="redis://127.0.0.1:1", **more))


@pytest.fixture
async def database(database_urls: DatabaseUrls) -> AsyncIterator[Database]:
    async with opened(database_urls) as database:
        yield database


@pytest.fixture(scope="session")
async def app(settings: ApiSettings, app_clock: FakeTime) -> AsyncIterator[Litestar]:
    """The wired application, in the tests' own event loop, so that they may call its services too."""
    app = create_app(settings, app_clock)
    started, ended = asyncio.Event(), asyncio.Event()

    async def live() -> None:  # in one task from start to end, as its cancel scopes want it
        async with app.lifespan():
            started.set()
            await ended.wait()

    living = asyncio.create_task(live())
    await asyncio.wait({living, asyncio.create_task(started.wait())}, return_when=asyncio.FIRST_COMPLETED)
    yield app
    ended.set()
    await living


@pytest.fixture
async def client(app: Litestar, database: Database, clock: FakeTime) -> AsyncIterator[Client]:
    """A client of the application; the test's rows go when the test ends."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)  # type: ignore[arg-type]  # Litestar's scopes are narrower
    async with httpx.AsyncClient(transport=transport, base_url="http://billing.test") as client:
        yield client


@pytest.fixture
def services(app: Litestar) -> Services:
    wired: Services = app.state.api.services
    return wired


@pytest.fixture
def infrastructure(app: Litestar) -> Infrastructure:
    wired: Infrastructure = app.state.api.infrastructure
    return wired


@pytest.fixture
def mirror(settings: ApiSettings, database: Database, stripe: StripeGateway, clock: FakeTime) -> Mirror:
    return Mirror(database, stripe, settings.secrets, clock)


@pytest.fixture(scope="session")
async def stripe(settings: ApiSettings, stripe_simulator: str) -> AsyncIterator[StripeGateway]:
    gateway = StripeGateway(settings.stripe)
    yield gateway
    await gateway.close()


@pytest.fixture
def desk(settings: ApiSettings, database: Database, clock: FakeTime) -> Desk:
    return Desk(settings, database, clock)


@pytest.fixture
async def on_sale(database: Database, stripe: StripeGateway) -> None:
    """The plans are known to Stripe."""
    await PlanService(database).publish(stripe)


@pytest.fixture
async def browser() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=10) as browser:
        yield browser


@pytest.fixture
def buyer(client: Client, browser: httpx.AsyncClient, stripe_simulator: str, mirror: Mirror, desk: Desk) -> Buying:
    async def bought(
        plan: str = "Professional", interval: str = "month", card: str = "4242424242424242", **order: Any
    ) -> Buyer:
        buyer = Buyer(client, browser, stripe_simulator, mirror, desk)
        await buyer.buy(plan, interval, card, **order)
        return buyer

    return bought


@pytest.fixture
def errands(
    database: Database, database_urls: DatabaseUrls, stripe: StripeGateway, mirror: Mirror, clock: FakeTime
) -> Errands:
    return Errands(database, database_urls, stripe, mirror, clock)


@pytest.fixture
async def visitors(app: Litestar, database: Database, clock: FakeTime) -> AsyncIterator[Visitors]:
    """Makes visitors, each with a browser and, where none is given, an e-mail address of their own."""
    async with AsyncExitStack() as stack:

        def a_visitor(email: str | None = None, *, comes_from: str = "127.0.0.1", **headers: str) -> Visitor:
            web = a_browser(app, comes_from=comes_from, **headers)
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
