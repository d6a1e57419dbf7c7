"""Services of all rooms, with rate limits and health, built when the application starts and closed when it stops."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, fields
from typing import Any, Final

from litestar import Litestar

from billing_api.access.rate_limits import RateLimiter
from billing_api.identity.sessions.sign_in import SignIns
from billing_api.server.health import Health
from billing_api.server.wiring.commerce import CommerceServices, commerce
from billing_api.server.wiring.identity import IdentityServices, identity, password_check
from billing_api.server.wiring.infrastructure import Infrastructure, open_infrastructure
from billing_api.server.wiring.licensing import LicensingServices, licensing
from billing_api.server.wiring.operations import OperationsServices, operations
from billing_api.server.wiring.portal import PortalServices, portal
from billing_api.server.wiring.privacy import PrivacyServices, privacy
from core.clock import Clock
from core.health import Lookout, Probe, Readiness
from core.hotstore import condition
from core.parts import Parts
from core.settings import ApiSettings
from db.condition import PostgresCondition


@dataclass(frozen=True)
class Services:
    identity: IdentityServices
    licensing: LicensingServices
    commerce: CommerceServices
    operations: OperationsServices
    portal: PortalServices
    privacy: PrivacyServices


_ROOMS: Final = {
    "identity": IdentityServices,
    "licensing": LicensingServices,
    "commerce": CommerceServices,
    "operations": OperationsServices,
    "portal": PortalServices,
    "privacy": PrivacyServices,
}
ROOM_OF: Final[Mapping[str, str]] = {service.name: room for room, kind in _ROOMS.items() for service in fields(kind)}
"""Service name → its room, for every service that a handler may ask for by name."""


@dataclass(frozen=True)
class ApiState:
    """The state of a running application, from start to stop: `app.state.api`."""

    settings: ApiSettings
    clock: Clock
    limits: RateLimiter
    infrastructure: Infrastructure
    services: Services
    health: Health

    def service(self, name: str) -> Any:
        return getattr(getattr(self.services, ROOM_OF[name]), name)


def services_lifespan(
    settings: ApiSettings, clock: Clock, parts: Parts, readiness: Readiness
) -> Callable[[Litestar], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        async with AsyncExitStack() as until_stopped:
            on = open_infrastructure(settings, clock, parts, until_stopped)
            services = _services(on, until_stopped)
            app.state.api = ApiState(
                settings=settings,
                clock=clock,
                limits=RateLimiter(on.access_store, settings.limits),
                infrastructure=on,
                services=services,
                health=await until_stopped.enter_async_context(_health(on, readiness)),
            )
            yield

    return lifespan


def _services(on: Infrastructure, until_stopped: AsyncExitStack) -> Services:
    sign_ins = SignIns(on.tokens, on.settings.secrets, on.clock)
    check = password_check(on, sign_ins)
    return Services(
        identity=identity(on, sign_ins, check),
        licensing=licensing(on, until_stopped),
        commerce=commerce(on),
        operations=operations(on),
        portal=portal(on),
        privacy=privacy(on, check),
    )


@asynccontextmanager
async def _health(on: Infrastructure, readiness: Readiness) -> AsyncIterator[Health]:
    """Checks the shared servers for as long as the application runs."""
    postgres = PostgresCondition(on.settings.database_url, name="billing_api")
    health = Health(on.parts, readiness, Lookout({"postgres": postgres.look, **_redis_probes(on)}), on.database)
    checks = on.parts.start("health", health.run())
    try:
        yield health
    finally:
        on.parts.stopping()
        checks.cancel()
        await asyncio.wait({checks})
        await health.lookout.close()
        postgres.close()


def _redis_probes(on: Infrastructure) -> Mapping[str, Probe]:
    probes: dict[str, Probe] = {"redis": lambda: condition.look_at_hot_store(on.redis, on.hot_store)}
    if on.settings.queue_redis_url != on.settings.redis_url:
        probes["queue_redis"] = lambda: condition.look(on.queue_redis)
    return probes
