"""Structured logs: one JSON object for each line, named events with facts, never a secret.

Libraries that log through the standard library (asyncio, arq, httpx, Granian) end in the same lines, through the same
redaction (core/redaction.py): their messages quote addresses, headers and bodies.

Logging never raises, so that code can log inside an `except` and go on. An event that cannot be written
(core/line_stream.py) or made a line of is dropped and counted; metrics show `lines_lost()`.
"""

import json
import logging
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, TextIO, cast

import msgspec
import structlog
from structlog.typing import EventDict, Processor
from typing_extensions import override

from core.line_stream import LineStream
from core.redaction import without_secrets


def redact(_logger: Any, _method: str, event: EventDict) -> EventDict:
    redacted: EventDict = without_secrets(event)
    return redacted


def _as_json(event: EventDict, **_: Any) -> str:
    """Plain data as one line of ASCII. msgspec is ten times quicker than json, but encodes ASCII only as we want it."""
    try:
        line = msgspec.json.encode(event).decode()
    except (UnicodeEncodeError, OverflowError):  # a lone surrogate; a number of more than 64 bits
        return json.dumps(event)
    return line if line.isascii() else json.dumps(event)


_FACTS: Final[Sequence[Processor]] = (structlog.contextvars.merge_contextvars,)
_LINE: Final[Sequence[Processor]] = (
    structlog.processors.format_exc_info,
    redact,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.JSONRenderer(_as_json),
)
PROCESSORS: Final[Sequence[Processor]] = (*_FACTS, *_LINE)
"""From an event to its line."""


_STDERR: Final = 2
_A_NAME: Final = re.compile(r"[a-z0-9_.]{1,80}")


def configure_logging(process: str, level: str = "info", *, take_over: Sequence[str] = ()) -> None:
    """Call this once, in a process's `__main__`. `take_over`: standard loggers that print by themselves.

    From here on printing never raises either: text for stdout and stderr goes the same way.
    """
    stderr = outlive_readers()
    structlog.configure(
        processors=list(PROCESSORS),
        wrapper_class=_surviving(
            structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]), stderr
        ),
        logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", stderr)),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)
    handler = _Handler(stderr)
    handler.setFormatter(StandardLibraryLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.captureWarnings(capture=True)
    for name in take_over:
        taken = logging.getLogger(name)
        taken.handlers.clear()
        taken.propagate = True


def lines_lost() -> int:
    """How many lines this process could not write since its start."""
    return sum(stream.lost for stream in {sys.stdout, sys.stderr} if isinstance(stream, LineStream))


def outlive_readers() -> LineStream:
    """From here on printing to stdout or stderr neither raises nor waits. Returns stderr.

    Nothing is written to a descriptor that was closed at the start.
    """
    _hold_standard_descriptors()
    given = [stream or Path(os.devnull).open("w") for stream in (sys.stderr, sys.stdout)]  # noqa: SIM115  kept for good
    stderr, stdout = (stream if isinstance(stream, LineStream) else LineStream(stream) for stream in given)
    sys.stderr, sys.stdout = stderr, stdout
    return stderr


def _hold_standard_descriptors() -> None:
    """Opens 0, 1 and 2 on /dev/null where they were closed, for this process and its children.

    Otherwise a socket or the loop's own descriptor would get such a number. Libraries print to 2 by its number, and a
    child uses the descriptor that it inherits there as its log.
    """
    while (lowest := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        os.set_inheritable(lowest, True)  # noqa: FBT003  it takes no keyword
    os.close(lowest)


def _surviving(bound_logger: Any, stream: LineStream) -> type:
    """The same logger, but an event that cannot be made a line of is counted as lost, and only its name is logged."""

    class Surviving(bound_logger):  # type: ignore[misc]  # the class is made at run time
        def _proxy_to_logger(self, method_name: str, event: str | None = None, **facts: Any) -> Any:
            try:
                return super()._proxy_to_logger(method_name, event, **facts)
            except Exception as fault:  # noqa: BLE001  a redaction or a repr that fails must not end the loop that logs
                name = event if isinstance(event, str) and _A_NAME.fullmatch(event) else "?"
                stream.lost += 1
                stream.write(f'{{"event":"log.failed","of":"{name}","error":"{type(fault).__name__}"}}\n')
                return None

    return Surviving


class _Handler(logging.StreamHandler[LineStream]):
    @override
    def handleError(self, record: logging.LogRecord) -> None:
        """For a record that cannot be made a line of: the standard library would print it, secrets included."""
        self.stream.lost += 1
        self.stream.write('{"event":"log.failed","of":"?"}\n')


class StandardLibraryLines(structlog.stdlib.ProcessorFormatter):
    """Formats a record of the standard library like an event of ours."""

    def __init__(self) -> None:
        super().__init__(
            foreign_pre_chain=[*_FACTS, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_LINE],
        )


def logger() -> structlog.stdlib.BoundLogger:
    bound: structlog.stdlib.BoundLogger = structlog.get_logger()
    return bound
