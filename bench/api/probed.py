"""The billing API with probe routes (`python -m bench.api.probed`): each answers empty after one more layer.

The application is the product's own, as its worker makes it; the routes are added here and exist in no other process.
The differences between them are the costs of the layers. Where BENCH_SAMPLES names a file, the process is sampled, and
at its end writes there what its samples saw (bench/api/sampling.py).
"""

import multiprocessing
from pathlib import Path
from typing import Any, Final

from granian.constants import HTTPModes, Interfaces, Loops
from granian.log import LogLevels
from granian.server import Server
from litestar import get
from litestar.di import NamedDependency
from litestar.routes import HTTPRoute
from litestar.types import ASGIApp

from bench.api.sampling import Sampler
from billing_api.access.permissions import Permission, Principal
from billing_api.licensing.licenses import repository
from billing_api.server import metrics, worker
from billing_api.web import undeclared
from core.settings import api_settings, process_environment
from db.paging import Paging, fetch_page

SAMPLES: Final = "BENCH_SAMPLES"
PROBES: Final = "/api/v1/probe"
_BARE: Final = f"{PROBES}/server"


@get(f"{PROBES}/empty", permission=Permission.SIGNED)
async def empty() -> None:
    """A signed route is not limited and reads no token; its handler would check a signature."""


@get(f"{PROBES}/public", permission=Permission.PUBLIC)
async def limited() -> None:
    """Without a token the limit of the address alone is asked. With one it is verified, and the user's limit is too."""


@get(f"{PROBES}/own", permission=Permission.OWN_ACCOUNT)
async def live() -> None:
    """The session has to be live: Redis is asked, then PostgreSQL, then Redis is told."""


@get(f"{PROBES}/transaction", permission=Permission.OWN_ACCOUNT)
async def transaction(request: Any, principal: NamedDependency[Principal]) -> None:
    async with request.app.state.api.infrastructure.database.as_customer(principal.user_id):
        return


@get(f"{PROBES}/statement", permission=Permission.OWN_ACCOUNT)
async def statement(request: Any, principal: NamedDependency[Principal]) -> None:
    """The statements of `GET licenses`, count and rows, without making JSON of the rows."""
    async with request.app.state.api.infrastructure.database.as_customer(principal.user_id) as tx:
        await fetch_page(tx.session, repository.visible(), repository.NEWEST_FIRST, Paging("probe"))


_HANDLERS: Final = (empty, limited, live, transaction, statement)


def served() -> ASGIApp:
    """The application, in a Granian worker."""
    app = worker.served()
    for handler in _HANDLERS:
        app.register(handler)
    undeclared.collect_declarations(route for route in app.routes if isinstance(route, HTTPRoute))
    if file := process_environment().get(SAMPLES):
        sampler = Sampler(Path(file))
        app.on_startup.append(sampler.start)
        app.on_shutdown.append(sampler.write)
    return _answered_before(app)


def _answered_before(app: ASGIApp) -> ASGIApp:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] == _BARE:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        await app(scope, receive, send)

    return application


def main() -> None:
    """As `python -m billing_api` serves, with one worker."""
    settings = api_settings()
    multiprocessing.set_start_method("spawn")
    with metrics.metrics_server(settings.host, settings.metrics_port):
        Server(
            "bench.api.probed:served",
            factory=True,
            interface=Interfaces.ASGI,
            loop=Loops.uvloop,
            http=HTTPModes.http1,
            address=settings.host,
            port=settings.port,
            log_level=LogLevels.warning,
        ).serve()


if __name__ == "__main__":
    main()
