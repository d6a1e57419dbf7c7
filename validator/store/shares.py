"""Shares: how the memory that a process may remember with (NP_REMEMBERED_MB) is divided among its caches.

A license that is forgotten has to be read from Redis and judged again, three times what it costs to read and hash a
forgotten question again; both take about as many bytes. So licenses get most.
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
        return cls(licenses=12 * sixteenth, questions=2 * sixteenth, api_keys=sixteenth, hashes=sixteenth)
