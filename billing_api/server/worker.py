"""One worker process of Granian: the application, and how it ends.

It is imported by workers alone. The master, which starts them, needs nothing of it.
"""

# ruff: noqa: E402  the collector rests before anything else is imported

import gc

gc.disable()  # until all is built: looking for cycles among what is being imported takes a third of the start

import multiprocessing
import os
import signal
import sys

from billing_api.server.app import BillingApi, create_app
from billing_api.server.draining import Draining
from core.parts import EXIT_CODE
from core.process import die_with_parent
from core.settings import api_settings
from core.telemetry import configure_logging


def served() -> BillingApi:
    """The application, in a Granian worker. It outlives neither its master nor itself."""
    die_with_parent()
    master = multiprocessing.parent_process()
    if master is not None and not master.is_alive():
        sys.exit("billing_api: the master has gone before its worker began")
    settings = api_settings()
    configure_logging("billing_api", settings.log_level, take_over=("_granian", "granian.access"))
    app = create_app(settings)
    _end_with_its_parts(app)
    app.on_startup.append(Draining(app.readiness, seconds=settings.drain_seconds, port=settings.port).handle_sigterm)
    _spare_the_collector()
    return app


def _end_with_its_parts(app: BillingApi) -> None:
    """A process with a dead part ends as if it were asked to, with the exit code that says why."""
    parts = app.parts

    async def watch() -> None:
        parts.watch(condemned=lambda: os.kill(os.getpid(), signal.SIGTERM))

    async def last() -> None:
        if parts.dead:
            os._exit(EXIT_CODE)

    app.on_startup.append(watch)
    app.on_shutdown.append(last)


def _spare_the_collector() -> None:
    """What was built at the start stays, and is left out of every search for cycles; and one comes less often.

    It is not searched before: one object in a hundred would be given back, for a fifth of the start. The requests of a
    batch wait for a search in the midst of it: this halved the p99 of reports.
    """
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
    gc.enable()
