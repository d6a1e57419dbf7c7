"""The mail server's address: smtp:// (STARTTLS) or smtps:// (TLS from the start), with login and port in the URL."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parseaddr
from typing import Final, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

SCHEMES: Final = ("smtp", "smtps")
_PORTS: Final[Mapping[str, int]] = {"smtp": 587, "smtps": 465}
"""Of mail submission (RFC 8314, 3.3)."""
_ADDRESS: Final = re.compile(r"[^@\s<>,]+@[^@\s<>,]+")


@dataclass(frozen=True, repr=False)
class SmtpSettings:
    """`sender`: `billing@example.com` or `Example <billing@example.com>`. No repr: it holds a password."""

    host: str
    port: int
    user: str | None
    password: str | None
    tls: Literal["starttls", "from_the_start", "off"]
    sender: str


def smtp_settings(url: str, sender: str, *, may_be_plain: bool) -> SmtpSettings:
    """ValueError, with what is wanted. `may_be_plain`: whether `?starttls=off` is allowed."""
    parts = urlsplit(url)
    options = parse_qsl(parts.query, keep_blank_values=True)
    plain = options == [("starttls", "off")]
    if parts.hostname is None or parts.path not in {"", "/"} or parts.fragment or (options and not plain):
        raise ValueError("must be smtp://user:password@host:port, smtps://… or http(s)://…")
    if plain and (parts.scheme == "smtps" or not may_be_plain):
        raise ValueError("must not switch STARTTLS off: that is for the devstack alone")
    return SmtpSettings(
        host=parts.hostname,
        port=parts.port or _PORTS[parts.scheme],
        user=None if parts.username is None else unquote(parts.username),
        password=None if parts.password is None else unquote(parts.password),
        tls="off" if plain else "starttls" if parts.scheme == "smtp" else "from_the_start",
        sender=sender,
    )


def is_sender(text: str) -> bool:
    """Whether mails may come from it: one address, with or without a name before it."""
    address = parseaddr(text)[1]
    return (
        text.isprintable()
        and _ADDRESS.fullmatch(address) is not None
        and (text == address or text.endswith(f"<{address}>"))
    )
