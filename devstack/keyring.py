"""The devstack's secrets: made once, kept in a file that only its owner can read.

A field that a later version adds is made when an older file is read. Losing the file means losing what the database
holds sealed, so it is never made again beside existing data.
"""

import os
from base64 import b64encode
from pathlib import Path
from secrets import token_bytes, token_hex
from typing import Self

import msgspec
from msgspec import field

from devstack.faults import CannotStart


def _key() -> str:
    return f"k1:{b64encode(token_bytes(32)).decode()}"


def _word() -> str:
    """Hexadecimal: safe in URLs and shells, and never taken for an option."""
    return token_hex(24)


class Keyring(msgspec.Struct, frozen=True, kw_only=True):
    postgres_password: str = field(default_factory=_word)
    owner_password: str = field(default_factory=_word)
    api_password: str = field(default_factory=_word)
    worker_password: str = field(default_factory=_word)
    kek: str = field(default_factory=_key)
    index_key: str = field(default_factory=lambda: b64encode(token_bytes(32)).decode())
    jwt_keys: str = field(default_factory=_key)
    audit_keys: str = field(default_factory=_key)
    stripe_api_key: str = field(default_factory=lambda: f"sk_test_{token_hex(24)}")
    stripe_publishable_key: str = field(default_factory=lambda: f"pk_test_{token_hex(24)}")
    stripe_webhook_secret: str = field(default_factory=lambda: f"whsec_{token_hex(24)}")
    nextpanel_jwt_secret: str = field(default_factory=_word)
    admin_password: str = field(default_factory=lambda: token_hex(10))
    customer_password: str = field(default_factory=lambda: token_hex(10))
    platform_key_id: str = field(default_factory=lambda: f"npk_{token_hex(8)}")
    platform_key_secret: str = field(default_factory=_word)

    @classmethod
    def kept_in(cls, file: Path, *, beside: Path) -> Self:
        """The keyring in `file`, made there on the first start; `beside` is the data that depends on it."""
        if not file.exists() and beside.exists():
            raise CannotStart(
                f"{file} is missing, and {beside} cannot be read without it: restore it, or move both away"
            )
        try:
            keyring = msgspec.json.decode(file.read_bytes() if file.exists() else b"{}", type=cls)
        except (msgspec.DecodeError, msgspec.ValidationError) as fault:
            advice = f"restore it, or move {file.parent} away to begin anew"
            raise CannotStart(f"{file} cannot be read ({fault}): {advice}") from None
        write_private(file, msgspec.json.format(msgspec.json.encode(keyring)))
        return keyring


def write_private(file: Path, content: bytes) -> None:
    """Replace a file atomically, readable by its owner only: a crash leaves the old one."""
    unfinished = file.with_name(f"{file.name}.{os.getpid()}")
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
        out.write(content)
    unfinished.replace(file)
