"""Logs: one JSON object a line, named events with facts, never a secret.

What others log through the standard library (asyncio, arq, httpx, Granian) ends in the same lines, by way of the same
redaction: their messages quote addresses, headers and bodies more freely than ours. core/redaction.py says what is
blotted out.
"""

import logging
import sys
from collections.abc import Sequence
from typing import Any, Final

import structlog
from structlog.typing import EventDict, Processor

from core.redaction import without_secrets


def redact(_logger: Any, _method: str, event: EventDict) -> EventDict:
    redacted: EventDict = without_secrets(event)
    return redacted


_FACTS: Final[Sequence[Processor]] = (
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)
_LINE: Final[Sequence[Processor]] = (
    structlog.processors.format_exc_info,
    redact,
    structlog.processors.JSONRenderer(),
)
PROCESSORS: Final[Sequence[Processor]] = (*_FACTS, *_LINE)
"""From an event to its line."""


def configure_logging(process: str, level: str = "info", *, take_over: Sequence[str] = ()) -> None:
    """Once, in a process's `__main__`. `take_over`: loggers of the standard library that print by themselves."""
    structlog.configure(
        processors=list(PROCESSORS),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(StandardLibraryLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.captureWarnings(capture=True)
    for name in take_over:
        taken = logging.getLogger(name)
        taken.handlers.clear()
        taken.propagate = True


class StandardLibraryLines(structlog.stdlib.ProcessorFormatter):
    """Makes a record of the standard library the line that an event of ours would be."""

    def __init__(self) -> None:
        super().__init__(
            foreign_pre_chain=[*_FACTS, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_LINE],
        )


def logger() -> structlog.stdlib.BoundLogger:
    bound: structlog.stdlib.BoundLogger = structlog.get_logger()
    return bound
