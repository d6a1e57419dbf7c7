"""Encryption of secrets at rest: AES-256-GCM under a key-encryption key that has an id and can be rotated.

Format of a sealed value: `key id` `.` `96-bit nonce ‖ ciphertext ‖ 128-bit tag`. The key id is ASCII without a dot. It
is authenticated together with a `context` that the caller gives (table, column, row): a value that was copied to
another place cannot be opened there.
"""

import secrets
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.crypto.mac import Mac

_NONCE_BYTES = 12
KEY_BYTES = 32


class CannotOpen(Exception):
    """The value was sealed with an unknown key, or for another place, or was altered."""


class Sealer:
    """Seals with the current key; opens with every key it was given."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        """`keys`: key id → 32 bytes; the first one seals."""
        for key_id, key in keys.items():
            if len(key) != KEY_BYTES or not key_id or "." in key_id or not key_id.isascii():
                raise ValueError(f"key-encryption key {key_id!r}: give it an id without a dot and {KEY_BYTES} bytes")
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self.current = next(iter(keys))

    def seal(self, secret: bytes, *, context: str) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        associated = f"{self.current}.{context}".encode()
        return self.current.encode() + b"." + nonce + self._ciphers[self.current].encrypt(nonce, secret, associated)

    def open(self, sealed: bytes, *, context: str) -> bytes:
        key_id, _, rest = sealed.partition(b".")
        cipher = self._ciphers.get(sealed_under(sealed))
        if cipher is None:
            raise CannotOpen(f"no key-encryption key with the id {key_id[:40]!r}")
        try:
            return cipher.decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], key_id + b"." + context.encode())
        except (InvalidTag, ValueError) as failure:
            raise CannotOpen("the sealed value was altered or belongs to another place") from failure

    def is_current(self, sealed: bytes) -> bool:
        """False where the value must be sealed again after a rotation."""
        return sealed_under(sealed) == self.current

    def reseal(self, sealed: bytes, *, context: str) -> bytes:
        """The same secret under the current key."""
        return self.seal(self.open(sealed, context=context), context=context)


def sealed_under(sealed: bytes) -> str:
    """The id of the key that a value was sealed with."""
    return sealed.partition(b".")[0].decode("ascii", "replace")


class KeyedHash:
    """HMAC-SHA256 under one long-lived key: an index that finds a secret without storing it."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"the index key has {KEY_BYTES} bytes, not {len(key)}")
        self._mac = Mac(key)

    def digest(self, kind: str, value: str) -> bytes:
        """32 bytes. `kind` (license_key, api_secret, token …) keeps the hashes of different kinds apart."""
        return self._mac.digest(f"{kind}\n{value}".encode())
