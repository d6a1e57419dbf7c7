"""Cache of parsed questions, by the bytes of their bodies.

A panel asks the same question about the same license at each click. All that follows from the bytes alone (the digest
that is signed, the fields, the license's hash) is cached under them. A question is cached only after its signature was
valid, and only if its license key can be one of ours, so strangers and guesses leave nothing here.
"""

from sys import getsizeof, intern
from typing import Final

import msgspec

from core.crypto.signature import body_digest
from core.licensing.plan import RESOURCE_OF_FEATURE
from validator.calls.wire import Ask, read
from validator.store.hashes import LicenseHashes
from validator.store.sized_cache import SizedCache, ascii_bytes, binary_bytes, block, heap_bytes

_ask: Final = msgspec.json.Decoder(Ask)
_LONGEST: Final = 1024
"""Bytes. Ours are of a hundred; a body that is blown up with blanks would push many of them out."""


class Question(msgspec.Struct, frozen=True, gc=False):
    """`h` is None where the license key cannot be one of ours. `digest` is empty for a part of a batch."""

    h: str | None
    feature: str
    fingerprint: str | None
    digest: bytes = b""


class Questions:
    def __init__(self, hashes: LicenseHashes, most: int) -> None:
        """`most`: bytes."""
        self._hashes = hashes
        self.held: SizedCache[bytes, Question] = SizedCache(most, _bytes_of)
        self.known = self.held.get
        """The question in a body that was read before."""

    def of(self, body: bytes) -> Question:
        """The question in a body whose signature was valid. Raises InvalidInput."""
        known = self.held.get(body)
        return self.read(body, body_digest(body)) if known is None else known

    def read(self, body: bytes, digest: bytes) -> Question:
        """The same, of a body that is not known, with its digest."""
        ask = read(_ask, body)
        question = Question(
            self._hashes.find(ask.license_key, keep=False), intern(ask.feature), ask.fingerprint, digest
        )
        if question.h is not None and ask.nonce is None and len(body) <= _LONGEST:
            self.held.put(body, question)
        return question

    def part(self, ask: Ask) -> Question:
        return Question(self._hashes.find(ask.license_key), ask.feature, ask.fingerprint)


_QUESTION_BYTES: Final = block(getsizeof(Question(None, "", None)))
_DIGEST_BYTES: Final = heap_bytes(body_digest(b""))


def _bytes_of(body: bytes, question: Question) -> int:
    size = _QUESTION_BYTES + binary_bytes(body) + _DIGEST_BYTES + ascii_bytes(question.h or "")
    if question.fingerprint is not None:
        size += heap_bytes(question.fingerprint)
    if question.feature not in RESOURCE_OF_FEATURE:  # those are one for all
        size += heap_bytes(question.feature)
    return size
