"""Runs one simulator: one process, one port on the loopback address, until it is told to stop or its parent dies.

Granian's embedded server serves the application in this process's own uvloop, so that there is no worker process to
leave behind. On Linux the kernel is asked for a SIGKILL at the parent's death: state is in the journal, and a killed
supervisor has nobody left to clean up after it.
"""

import asyncio
import ctypes
import os
import signal
import sys
from argparse import ArgumentDefaultsHelpFormatter, ArgumentParser
from pathlib import Path
from typing import Final

import uvloop
from granian.constants import Interfaces
from granian.server.embed import Server

from core.telemetry import outlive_readers
from devstack.simulators.asgi import Application

HOST: Final = "127.0.0.1"
_PR_SET_PDEATHSIG: Final = 1  # prctl(2)


def arguments(module: str, description: str, *, port: int) -> ArgumentParser:
    """A parser with what every simulator takes."""
    parser = ArgumentParser(
        prog=f"python -m {module}", description=description, formatter_class=ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--port", type=int, default=port, help="where it listens, on the loopback address")
    parser.add_argument("--data", type=Path, required=True, help="folder for its state, which survives a kill")
    return parser


def serve(app: Application, port: int) -> None:
    """Serve until SIGTERM or SIGINT; requests that are being answered are answered first."""
    die_with_parent()
    outlive_readers()
    uvloop.run(_serve(app, port))


async def _serve(app: Application, port: int) -> None:
    server = Server(app, address=HOST, port=port, interface=Interfaces.ASGI, websockets=False, log_enabled=False)
    loop = asyncio.get_running_loop()
    for stop in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(stop, server.stop)
    await server.serve()


def die_with_parent() -> None:
    if sys.platform != "linux":
        return
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL.value, 0, 0, 0)
    if os.getppid() != parent:  # it died between the two lines above, and no signal will come
        raise SystemExit(f"the parent process {parent} is gone")
