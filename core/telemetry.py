"""Logs: one JSON object a line, named events with facts, never a secret.

A key, token, password or signature that slips into an event is blotted out by its field's name or by its shape.
"""

import logging
import re
import sys
from typing import Any, Final

import structlog
from structlog.typing import EventDict

_SECRET_FIELDS: Final = re.compile(
    r"pass(word|wd)?|secret|token|authorization|cookie|license_key$|signature|card|cvc", re.IGNORECASE
)
_SECRET_SHAPES: Final = re.compile(
    r"\bNP-?[0-9A-Z]{4}-?[0-9A-Z]{4}-?[0-9A-Z]{4}\b|(sk|rk|whsec)_[A-Za-z0-9_]{8,}|eyJ[\w-]+\.[\w-]+\.[\w-]+",
    re.IGNORECASE,
)
_BLOT: Final = "[redacted]"


def configure_logging(process: str, level: str = "info") -> None:
    """Once, in a process's `__main__`. Standard-library loggers end in the same lines."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            redact,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s", stream=sys.stderr)


def redact(_logger: Any, _method: str, event: EventDict) -> EventDict:
    for name, value in event.items():
        if _SECRET_FIELDS.search(name):
            event[name] = _BLOT
        elif isinstance(value, str):
            event[name] = _SECRET_SHAPES.sub(_BLOT, value)
    return event


def logger() -> structlog.stdlib.BoundLogger:
    bound: structlog.stdlib.BoundLogger = structlog.get_logger()
    return bound
