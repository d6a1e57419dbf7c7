"""Parser of environment variables: reads single values from a mapping, and collects all faults instead of raising.

Which variables there are, and the process's own environment, are in core/settings.py.
"""

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final, TypeVar
from urllib.parse import urlsplit

from core.crypto.sealing import KEY_BYTES
from core.rate_limit import MOST_A_SECOND, Quota

T = TypeVar("T")

_HIGHEST_PORT: Final = 65_535


@dataclass
class Reader:
    """Reads values and collects what is wrong with them."""

    source: Mapping[str, str]
    faults: list[str] = field(default_factory=list)

    def text(self, name: str, default: str | None = None) -> str:
        value = self.source.get(name, "").strip() or default
        if value is None:
            self.faults.append(f"{name} is not set")
            return ""
        return value

    def optional(self, name: str) -> str | None:
        return self.source.get(name, "").strip() or None

    def parsed(self, name: str, default: str | None, parse: Callable[[str], T], wanted: str, fallback: T) -> T:
        raw = self.text(name, default)
        if not raw:
            return fallback
        try:
            return parse(raw)
        except (ValueError, binascii.Error):
            self.faults.append(f"{name} must be {wanted}")
            return fallback

    def number(self, name: str, default: int | None) -> int:
        return self.parsed(name, None if default is None else str(default), int, "a whole number", 0)

    def port(self, name: str, default: int) -> int:
        """0: any free port."""

        def parse(raw: str) -> int:
            if not 0 <= int(raw) <= _HIGHEST_PORT:
                raise ValueError
            return int(raw)

        return self.parsed(name, str(default), parse, f"a whole number from 0 to {_HIGHEST_PORT}", 0)

    def one_of(self, name: str, words: tuple[str, ...], default: str) -> str:
        """One of these words, in upper or lower case."""

        def parse(raw: str) -> str:
            if raw.lower() not in words:
                raise ValueError
            return raw.lower()

        return self.parsed(name, default, parse, f"one of {', '.join(words)}", default)

    def url(self, name: str, *schemes: str, default: str | None = None) -> str:
        def parse(raw: str) -> str:
            if urlsplit(raw).scheme not in schemes:
                raise ValueError
            return raw

        return self.parsed(name, default, parse, f"a URL that starts with {' or '.join(schemes)}://", "")

    def flag(self, name: str, *, default: bool) -> bool:
        words = {"1": True, "true": True, "on": True, "0": False, "false": False, "off": False}

        def parse(raw: str) -> bool:
            if raw.lower() not in words:
                raise ValueError
            return words[raw.lower()]

        return self.parsed(name, str(default).lower(), parse, "true or false", default)

    def listed(self, name: str) -> tuple[str, ...]:
        return tuple(part.strip() for part in self.source.get(name, "").split(",") if part.strip())

    def networks(self, name: str) -> tuple[IPv4Network | IPv6Network, ...]:
        """Comma separated networks in CIDR notation; a bare address is a network of one."""

        def parse(raw: str) -> tuple[IPv4Network | IPv6Network, ...]:
            return tuple(ip_network(part.strip()) for part in raw.split(",") if part.strip())

        wanted = "networks such as 10.0.0.0/8,fd00::/8, comma separated, with no bits set after the prefix"
        return self.parsed(name, ",", parse, wanted, ())

    def quotas(self, name: str, defaults: Mapping[str, Quota]) -> dict[str, Quota]:
        """`name=requests/seconds`, comma separated: each replaces a default."""

        def parse(raw: str) -> dict[str, Quota]:
            given = dict(defaults)
            for part in filter(None, map(str.strip, raw.split(","))):
                limit, _, quota = part.partition("=")
                requests, _, seconds = quota.partition("/")
                given[limit] = Quota(int(requests), int(seconds))
                if limit not in defaults or min(given[limit]) < 1 or given[limit].rate > MOST_A_SECOND:
                    raise ValueError
            return given

        wanted = (
            f"name=requests/seconds, comma separated, at most {MOST_A_SECOND} a second, with names of"
            f" {', '.join(defaults)}"
        )
        return self.parsed(name, ",", parse, wanted, dict(defaults))

    def some(self, name: str) -> tuple[str, ...]:
        """At least one."""
        parts = self.listed(name)
        if not parts:
            self.faults.append(f"{name} is not set")
        return parts

    def pair(self, name: str) -> tuple[str, str]:
        def parse(raw: str) -> tuple[str, str]:
            left, colon, right = raw.partition(":")
            if not (left and colon and right):
                raise ValueError
            return left, right

        return self.parsed(name, None, parse, "of the form name:secret", ("", ""))

    def keys(self, name: str) -> dict[str, bytes]:
        """`id:base64,id:base64`; the first is the current one."""

        def parse(raw: str) -> dict[str, bytes]:
            pairs = [part.strip().partition(":") for part in raw.split(",")]
            keys = {key_id: base64.b64decode(value, validate=True) for key_id, _, value in pairs}
            if any(len(key) != KEY_BYTES for key in keys.values()) or not all(keys):
                raise ValueError
            return keys

        return self.parsed(name, None, parse, f"id:base64 of {KEY_BYTES} bytes, comma separated", {"none": bytes(32)})

    def key(self, name: str) -> bytes:
        """One key without an id."""

        def parse(raw: str) -> bytes:
            value = base64.b64decode(raw, validate=True)
            if len(value) != KEY_BYTES:
                raise ValueError
            return value

        return self.parsed(name, None, parse, f"base64 of {KEY_BYTES} bytes", bytes(KEY_BYTES))
