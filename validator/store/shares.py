"""Shares: how the memory that a process may remember with (NP_REMEMBERED_MB) is divided among its caches.

A license that is forgotten has to be read from Redis again, which costs most, so licenses get most. A question that is
forgotten is read and hashed again; an API key is read and its secret decrypted.
"""

from typing import NamedTuple, Self


class Shares(NamedTuple):
    """Bytes for each cache."""

    licenses: int
    questions: int
    api_keys: int
    hashes: int

    @classmethod
    def of(cls, most: int) -> Self:
        """`most`: bytes in all."""
        sixteenth = most // 16
        return cls(licenses=10 * sixteenth, questions=4 * sixteenth, api_keys=sixteenth, hashes=sixteenth)
