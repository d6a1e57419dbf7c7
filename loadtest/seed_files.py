"""Files that seeding leaves for the load tools: license keys and people. They are secrets, for the owner alone."""

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from loadtest.customer_calls import SignedIn


class SeededCustomer(msgspec.Struct, frozen=True, omit_defaults=True):
    email: str
    password: str
    access_token: str | None = None


class SeedFiles:
    def __init__(self, data: Path) -> None:
        """`data`: the stack's folder."""
        self.keys = data / "seed" / "license_keys.txt"
        self.customers = data / "seed" / "customers.json"
        self.signed_in = data / "seed" / "signed_in.json"

    def read_keys(self) -> list[str]:
        return self.keys.read_text(encoding="utf-8").split() if self.keys.exists() else []

    def read_customers(self) -> list[SeededCustomer]:
        if not self.customers.exists():
            return []
        return msgspec.json.decode(self.customers.read_bytes(), type=list[SeededCustomer])

    def clear(self) -> None:
        self.keys.unlink(missing_ok=True)
        self.customers.unlink(missing_ok=True)
        self.signed_in.unlink(missing_ok=True)

    def add_keys(self, keys: Sequence[str]) -> None:
        _write(self.keys, "".join(f"{key}\n" for key in keys).encode(), os.O_APPEND)

    def write_customers(self, customers: Sequence[SeededCustomer]) -> None:
        _write(self.customers, msgspec.json.format(msgspec.json.encode(customers)), os.O_TRUNC)

    def read_signed_in(self) -> list[SignedIn]:
        if not self.signed_in.exists():
            return []
        return msgspec.json.decode(self.signed_in.read_bytes(), type=list[SignedIn])

    def write_signed_in(self, people: Sequence[SignedIn]) -> None:
        _write(self.signed_in, msgspec.json.encode(people), os.O_TRUNC)


def _write(file: Path, content: bytes, how: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | how, 0o600), "wb") as out:
        out.write(content)
