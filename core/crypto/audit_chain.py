"""Hash chain over the audit trail: a change of its past that was made without the key is detected.

    seal(n) = HMAC-SHA256(key, seal(n-1) ‖ entry(n)),  seal(0) = 32 zero bytes

as in Schneier and Kelsey's "Secure Audit Logs to Support Computer Forensics" (1999), without its evolving keys. A plain
hash would reveal accidents, but not an attacker who controls the database: they could compute the chain again. Only the
workers know the key; no other writer of these tables does.

`entry` is a JSON array of texts, so no two different entries have the same bytes: position, time of sealing, then the
row. `detail` is PostgreSQL's own text of the stored jsonb, so that no decoding of ours can fail.
"""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

import msgspec

from core.crypto.sealing import KEY_BYTES

GENESIS: Final = bytes(32)
"""The seal before the first one."""


class Entry(NamedTuple):
    """A row of the trail. `at` is aware, in any time zone; `detail` is text."""

    id: int
    at: datetime
    actor_id: UUID | None
    action: str
    target_kind: str
    target_id: str
    detail: str
    request_id: str | None


class Head(NamedTuple):
    """The newest link. Kept elsewhere, it is an anchor: a chain without it was cut off or computed again."""

    position: int
    seal: bytes

    @property
    def text(self) -> str:
        return f"{self.position}:{self.seal.hex()}"

    @classmethod
    def read(cls, text: str) -> "Head":
        """The head in this text; ValueError where there is none."""
        position, _, seal = text.partition(":")
        head = cls(int(position), bytes.fromhex(seal))
        if head.position < 0 or len(head.seal) != len(GENESIS):
            raise ValueError(f"{text!r} is no head of a chain: give position:seal")
        return head


EMPTY: Final = Head(0, GENESIS)


class AuditChain:
    """Seals with the current key; checks seals of every key it was given."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        """`keys`: key id → 32 bytes; the first one seals."""
        if any(len(key) != KEY_BYTES for key in keys.values()):
            raise ValueError(f"a key of the audit chain has {KEY_BYTES} bytes")
        self._keys = dict(keys)
        self.current = next(iter(keys))

    def knows(self, kid: str) -> bool:
        return kid in self._keys

    def seal(self, previous: Head, entry: Entry, sealed_at: datetime, *, kid: str | None = None) -> Head:
        """The link after `previous`; KeyError where `kid` is no key of ours."""
        kid = self.current if kid is None else kid
        position = previous.position + 1
        content = msgspec.json.encode(
            [
                str(position),
                kid,
                _instant(sealed_at),
                str(entry.id),
                _instant(entry.at),
                None if entry.actor_id is None else str(entry.actor_id),
                entry.action,
                entry.target_kind,
                entry.target_id,
                entry.detail,
                entry.request_id,
            ]
        )
        return Head(position, hmac.digest(self._keys[kid], previous.seal + content, hashlib.sha256))


def same(one: bytes, other: bytes) -> bool:
    return hmac.compare_digest(one, other)


def _instant(at: datetime) -> str:
    """Unix microseconds, PostgreSQL's own precision: independent of zone, rounding and notation."""
    whole = int(at.replace(microsecond=0).timestamp())
    return str(whole * 1_000_000 + at.microsecond)
