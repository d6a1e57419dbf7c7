"""`python -m billing_api`: serves the API, or runs one of its commands (--help).

The master serves nobody itself. It imports neither the application nor the commands, so that a start takes half the
time: the master's imports come before its workers'.
"""

import argparse
import multiprocessing
import sys
from collections.abc import Sequence
from typing import Final

from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import Server

from billing_api.server import metrics
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


def serve() -> None:
    die_with_parent()
    settings = api_settings()
    configure_logging("billing_api", settings.log_level)
    files = allow_many_files()  # the workers inherit it
    # Not forked: a worker must not inherit the locks of the thread that shows the metrics, nor counters chosen before.
    multiprocessing.set_start_method("spawn")
    with metrics.metrics_server(settings.host, settings.metrics_port):
        Server(
            "billing_api.server.worker:served",
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
    words = sys.argv[1:] if arguments is None else arguments
    try:
        if words:
            return _command(words)
        serve()
    except BadSettings as fault:
        print(f"billing_api: {fault}", file=sys.stderr)  # noqa: T201  a command speaks to a person
        return 2
    return 0


def _command(words: Sequence[str]) -> int:
    from billing_api.cli import commands  # noqa: PLC0415  who serves needs none of what they import

    parser = argparse.ArgumentParser(prog="python -m billing_api", description="NextPanel's billing API.")
    subcommands = parser.add_subparsers(dest="command", title="commands (none: serve)", required=True)
    commands.describe(subcommands)
    return commands.run(parser.parse_args(words))


if __name__ == "__main__":
    raise SystemExit(main())
