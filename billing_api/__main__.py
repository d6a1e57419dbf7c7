"""`python -m billing_api`: serves the API, or runs one of its commands (--help)."""

import argparse
import gc
import multiprocessing
import os
import signal
import sys
from collections.abc import Sequence
from typing import Final

from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import Server

from billing_api.cli import commands
from billing_api.server import metrics
from billing_api.server.app import BillingApi, create_app
from billing_api.server.draining import Draining
from core.parts import EXIT_CODE
from core.process import allow_many_files, die_with_parent
from core.settings import BadSettings, api_settings
from core.telemetry import configure_logging

_HEAD_WITHIN_MS: Final = 10_000
_MOST_CONNECTIONS: Final = 20_000
"""Of one worker: those that come later wait in the kernel's queue."""
_FINISH_SECONDS: Final = 15
"""For the answers that are under way when a worker stops listening."""
_OTHER_FILES: Final = 512
"""What a worker may have open beside its clients: connections to its servers, logs, code that is read."""


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

    The requests of a batch wait for a search in the midst of it: this halved the p99 of reports.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def serve() -> None:
    die_with_parent()
    settings = api_settings()
    configure_logging("billing_api", settings.log_level)
    files = allow_many_files()  # the workers inherit it
    # Not forked: a worker must not inherit the locks of the thread that shows the metrics, nor counters chosen before.
    multiprocessing.set_start_method("spawn")
    with metrics.metrics_server(settings.host, settings.metrics_port):
        Server(
            "billing_api.__main__:served",
            factory=True,
            interface=Interfaces.ASGI,
            loop=Loops.uvloop,
            # A silent connection ends in time under HTTP/1.1 alone (docs/decisions/0025-http-1-1-only.md).
            http=HTTPModes.http1,
            http1_settings=HTTP1Settings(header_read_timeout=_HEAD_WITHIN_MS),
            # Never more than there are files for: Granian accepts nobody any more once accept(2) has failed.
            backpressure=max(1, min(_MOST_CONNECTIONS, files - _OTHER_FILES)),
            address=settings.host,
            port=settings.port,
            workers=settings.processes,
            respawn_failed_workers=True,
            workers_kill_timeout=settings.drain_seconds + _FINISH_SECONDS,
            log_level=LogLevels.warning,
        ).serve()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m billing_api", description="NextPanel's billing API.")
    subcommands = parser.add_subparsers(dest="command", title="commands (none: serve)")
    commands.describe(subcommands)
    chosen = parser.parse_args(arguments)
    try:
        if chosen.command is None:
            serve()
            return 0
        return commands.run(chosen)
    except BadSettings as fault:
        print(f"billing_api: {fault}", file=sys.stderr)  # noqa: T201  a command speaks to a person
        return 2


if __name__ == "__main__":
    raise SystemExit(main())
