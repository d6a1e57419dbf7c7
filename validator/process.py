"""Serving process (child of the supervisor): its event loop, its signals, its end."""

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys

import structlog
import uvloop

from core.listeners import GRACE_SECONDS, turn_away
from core.parts import EXIT_CODE, Parts
from core.process import allow_many_files, die_with_parent
from core.settings import ValidatorSettings
from core.telemetry import configure_logging
from validator.app import Validator

log = structlog.get_logger()


Sockets = tuple[socket.socket, socket.socket]


def serve(
    settings: ValidatorSettings, slot: int, parent: int, sockets: Sockets, tell: int, parts: Parts | None = None
) -> None:
    """Runs until SIGTERM, after which it serves for NP_DRAIN_SECONDS, or SIGINT, when another process has replaced it.

    `sockets`: one for clients and one for metrics; both already listen. `tell`: a descriptor that gets a byte once this
    process serves.
    """
    die_with_parent(signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit("the supervisor ended before its child began: start python -m validator again")
    configure_logging(f"validator-{slot}", settings.log_level)
    allow_many_files()
    sys.exit(uvloop.run(_run(settings, parent, sockets, tell, parts)))


async def _run(settings: ValidatorSettings, parent: int, sockets: Sockets, tell: int, parts: Parts | None) -> int:
    """Serves until it is asked to stop, or a part is dead. Returns the exit code."""
    loop = asyncio.get_running_loop()
    asked: asyncio.Future[int] = loop.create_future()
    for signum, seconds in ((signal.SIGTERM, settings.drain_seconds), (signal.SIGINT, 0)):
        loop.add_signal_handler(signum, _note, asked, seconds)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, set(signal.Signals))
    validator = Validator(settings, parts)
    await validator.start(*sockets)
    validator.parts.watch(condemned=lambda: _note(asked, 0))
    _spare_the_collector()
    gc.callbacks.append(validator.note_pause)
    _tell(tell)
    log.info("validator.serving", pid=os.getpid())
    seconds = await asked
    code = EXIT_CODE if validator.parts.dead else 0
    log.info("validator.draining", code=code, seconds=seconds)
    if os.getppid() != parent:  # the supervisor was killed, and cannot do this
        loop.call_later(max(seconds, GRACE_SECONDS), _turn_away, sockets)
    validator.parts.stopping()
    await validator.stop(seconds)
    return code


def _note(asked: "asyncio.Future[int]", seconds: int) -> None:
    if not asked.done():
        asked.set_result(seconds)


def _turn_away(sockets: Sockets) -> None:
    for at in sockets:
        turn_away(at)


def _spare_the_collector() -> None:
    """Lets the garbage collector search only young objects for cycles.

    A full search visits every cached object: with 100,000 licenses it takes a third of a second without an answer.
    Cached objects have no cycles and are freed by reference counts. Requests leave no cycles behind either (a test
    checks it), so a full search would find next to nothing.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 1_000_000_000)


def _tell(descriptor: int) -> None:
    with contextlib.suppress(BrokenPipeError):  # only a rolling restart waits for it
        os.write(descriptor, b"1")
    os.close(descriptor)
