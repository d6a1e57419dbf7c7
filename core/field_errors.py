"""Content that does not fit, told field by field: what decoders raise becomes InvalidInput, alike at both doors."""

import re
from typing import Final

import msgspec

from core.errors import FieldError, InvalidInput

_PATH: Final = re.compile(r"^(?P<what>.*?)(?: - at `\$(?P<path>[^`]*)`)?$", re.DOTALL)
_STRANGE_NAME: Final = re.compile(r"unknown field `(?!\w{1,64}`).*`", re.DOTALL)
"""A name that is none: a whole body was sent as a form, say, with a password in it. It is not said again."""


def invalid_body(failure: msgspec.DecodeError | UnicodeDecodeError) -> InvalidInput:
    """The message of msgspec, `Expected int, got str - at `$.count``, as a field error."""
    return InvalidInput("the body does not fit", errors=(field_error(str(failure)),))


def field_error(message: str) -> FieldError:
    message = without_strange_names(message)
    match = _PATH.match(message)
    path = (match["path"] or "").lstrip(".") if match else ""
    return FieldError(field=path or "body", detail=match["what"] if match else message)


def without_strange_names(text: str) -> str:
    return _STRANGE_NAME.sub("unknown field", text)
