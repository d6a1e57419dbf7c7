"""Cache of parsed questions, by the bytes of their bodies.

A panel asks the same question about the same license at each click. All that follows from the bytes alone (the digest
that is signed, the fields, the license's hash) is cached under them. A question is cached only after its signature was
valid, and only if its license key can be one of ours, so strangers and guesses leave nothing here.
"""

from sys import intern
from typing import Final

import msgspec

from core.crypto.signature import body_digest
from validator.calls.wire import Ask, read
from validator.store.bounded_cache import BoundedCache
from validator.store.hashes import LicenseHashes

_ask: Final = msgspec.json.Decoder(Ask)


class Question(msgspec.Struct, frozen=True, gc=False):
    """`h` is None where the license key cannot be one of ours. `digest` is empty for a part of a batch."""

    h: str | None
    feature: str
    fingerprint: str | None
    digest: bytes = b""


class Questions:
    def __init__(self, hashes: LicenseHashes, most: int) -> None:
        self._hashes = hashes
        self._known: BoundedCache[bytes, Question] = BoundedCache(most)

    def known(self, body: bytes) -> Question | None:
        return self._known.items.get(body)

    def of(self, body: bytes) -> Question:
        """The question in a body whose signature was valid. Raises InvalidInput."""
        known = self._known.items.get(body)
        if known is not None:
            return known
        ask = read(_ask, body)
        question = Question(self._hashes.find(ask.license_key), intern(ask.feature), ask.fingerprint, body_digest(body))
        if question.h is not None and ask.nonce is None:
            self._known.put(body, question)
        return question

    def part(self, ask: Ask) -> Question:
        return Question(self._hashes.find(ask.license_key), ask.feature, ask.fingerprint)
