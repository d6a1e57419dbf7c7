"""From the key a client typed to the hash Redis knows it by.

Both steps are HMACs and cost more than the rest of a request, so keys that were right are remembered as they were
typed. Wrong ones are not: they would be without number.
"""

from core.crypto.sealing import KeyedHash
from core.hotstore.keys import short_hash
from core.licensing import key as license_key
from validator.store.bounded_cache import BoundedCache


class LicenseHashes:
    def __init__(self, index: KeyedHash, checksum_key: bytes, most: int) -> None:
        self._index = index
        self._checksum_key = checksum_key
        self._remembered: BoundedCache[str, str] = BoundedCache(most)

    def find(self, typed: str) -> str | None:
        """None where the checksum says that it is no key of ours: a typo or a guess, refused without asking Redis."""
        h = self._remembered.items.get(typed)
        if h is not None:
            return h
        canonical = license_key.parse(typed, self._checksum_key)
        if canonical is None:
            return None
        h = short_hash(self._index.digest("license_key", canonical))
        self._remembered.put(typed, h)
        return h
