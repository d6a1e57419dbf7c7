"""Redaction of secrets in logs: they are found by a field's name, by their shape, or by the text before them.

    by name      a field called password, refresh_token, license_key …, at any depth: its value is removed, whatever it
                 is
    by shape     a license key, API secret, Stripe key, JWT, activation token, recovery code: anywhere
    in a text    `?token=…`, `password='…'`, `"secret": "…"`, `Bearer …`, `postgresql://user:…@`: exceptions and URLs

None of these finds a plain password in a sentence. So the first rule is to log nothing that quotes a request (events
have facts, not bodies); redaction is the second. tests/support/secrecy.py checks both with all secrets that the tests
use.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

BLOT: Final = "[redacted]"

_NAMES: Final = (
    r"pass(?:word|wd|phrase)?|secret|token|authorization|cookie|license_key(?!_?(?:id|hash))"
    r"|signature|card|cvc|recovery_code|challenge|private_key|api_key(?!_?id)|np_refresh|np_device"
)
_NAME: Final = re.compile(_NAMES, re.IGNORECASE)
_COUNTED: Final = re.compile(r"_(?:id|ids|at|count|hash|type|status)$", re.IGNORECASE)
"""`token_type`, `secret_count`: a fact about a secret is no secret."""

_SHAPES: Final = re.compile(
    r"\bNP-?[0-9A-Z]{4}-?[0-9A-Z]{4}-?[0-9A-Z]{4}\b"
    r"|\b(?:sk|rk|whsec|nps|npt)_[\w-]{8,}"
    r"|\beyJ[\w-]+\.[\w-]+\.[\w-]*"
    r"|\b[0-9A-Z]{4}(?:-[0-9A-Z]{4}){3}\b"
    r"|\b[0-9a-f]{32}\.[\w-]{43}"  # a refresh token: its session, then 256 bits
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?-----END [A-Z ]*PRIVATE KEY-----",
    re.IGNORECASE,
)
_VALUE: Final = r"""(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\s&;,)}'"]+)"""
# The part of a name before the telling word is bounded: without that, the search of a long text would be quadratic.
_ASSIGNED: Final = re.compile(
    rf"""((?<![\w-])[\w-]{{0,40}}(?:{_NAMES})[\w-]{{0,20}}(?:=|["']\s*:\s*))b?{_VALUE}""", re.IGNORECASE
)
_SHOWN: Final = re.compile(r"\b(Bearer|Basic|Digest)\s+[\w.~+/=-]{8,}", re.IGNORECASE)
_IN_ADDRESS: Final = re.compile(r"(\b[a-z][a-z0-9+.-]{1,20}://[^\s:/@'\"]{0,80}:)[^\s/@'\"]+@", re.IGNORECASE)


def is_secret(name: str) -> bool:
    """Whether the value of a field of this name must not be logged."""
    return bool(_NAME.search(name)) and not _COUNTED.search(name)


def blotted(text: str) -> str:
    """The text without the secrets that can be recognized in it."""
    # Most texts are a path or an id. What a pattern cannot do without is looked for first, which is ten times quicker.
    if "://" in text:
        text = _IN_ADDRESS.sub(rf"\1{BLOT}@", text)
    if len(text.split(maxsplit=1)) > 1:
        text = _SHOWN.sub(rf"\1 {BLOT}", text)
    if "=" in text or ":" in text:
        text = _ASSIGNED.sub(rf"\1{BLOT}", text)
    return _SHAPES.sub(BLOT, text)


@lru_cache(maxsize=1024)
def _field(name: str) -> tuple[str, bool]:
    """How a field's name is logged, and whether its value is a secret. The names are few, and the same in each line."""
    return blotted(name), is_secret(name)


def without_secrets(value: Any) -> Any:
    """The same for any value of an event. A value that is no plain data is logged by its repr, redacted."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return blotted(value)
    if isinstance(value, Mapping):
        fields = ((_field(str(name)), part) for name, part in value.items())
        return {name: BLOT if secret else without_secrets(part) for (name, secret), part in fields}
    if isinstance(value, list | tuple | set | frozenset):
        return [without_secrets(part) for part in value]
    return blotted(repr(value))
