"""License hashes: from a typed license key to the hash that Redis knows it by, cached.

Checksum and hash are HMACs, so valid keys are cached as they were typed. Invalid ones are not: there is no end of them.
"""

from core.crypto.sealing import KeyedHash
from core.hotstore.keys import short_hash
from core.licensing import key as license_key
from validator.store.sized_cache import SizedCache, ascii_bytes, heap_bytes


class LicenseHashes:
    def __init__(self, index: KeyedHash, checksum_key: bytes, most: int) -> None:
        """`most`: bytes."""
        self._index = index
        self._checksum_key = checksum_key
        self.held: SizedCache[str, str] = SizedCache(most, _bytes_of)

    def find(self, typed: str, *, keep: bool = True) -> str | None:
        """None where the checksum is wrong: a typo or a guess, refused without asking Redis.

        `keep`: False where the caller remembers the hash itself.
        """
        h = self.held.get(typed)
        if h is not None:
            return h
        canonical = license_key.parse(typed, self._checksum_key)
        if canonical is None:
            return None
        h = short_hash(self._index.digest("license_key", canonical))
        if keep:
            self.held.put(typed, h)
        return h


def _bytes_of(typed: str, h: str) -> int:
    return heap_bytes(typed) + ascii_bytes(h)  # what is typed may be any text
