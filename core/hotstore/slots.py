"""Slots of a Redis Cluster: from keys to slots, and from slots to nodes. Pure; workers and validator use it.

A Cluster divides its keys into 16,384 slots by a CRC16 of the key, or of the part in braces where there is one (Cluster
specification, "Hash tags"; the CRC is XMODEM's, which Python's binascii has). Each key of a bucket has the bucket in
braces, so only 256 slots matter, and a table of 256 owners is the whole map. Two keys have no bucket, keys.SYNC and
keys.JWKS; their names decide their slots.
"""

import binascii
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from core.hotstore import keys

SLOTS: Final = 16_384


class Address(NamedTuple):
    host: str
    port: int


class Redirection(NamedTuple):
    """The answer of a node about a slot that it does not serve, or does not serve alone."""

    slot: int
    address: Address
    moved: bool
    """True: the slot is there now (MOVED). False: it is being moved there, and this answer is for one key (ASK)."""


def slot_of(key: str) -> int:
    start = key.find("{")
    end = key.find("}", start + 1)
    tag = key[start + 1 : end] if start >= 0 and end > start + 1 else key
    return binascii.crc_hqx(tag.encode(), 0) % SLOTS


BUCKET_SLOTS: Final = tuple(slot_of(keys.mark(bucket)) for bucket in range(keys.BUCKETS))
BUCKET_OF_SLOT: Final = {slot: bucket for bucket, slot in enumerate(BUCKET_SLOTS)}
"""No two buckets share a slot."""

SYNC_SLOT: Final = slot_of(keys.SYNC)
JWKS_SLOT: Final = slot_of(keys.JWKS)
_WANTED: Final = (*BUCKET_SLOTS, SYNC_SLOT, JWKS_SLOT)


def owners_of(answer: Iterable[Sequence[Any]], asked: Address) -> dict[int, Address]:
    """Which node serves each slot that matters, from the answer to CLUSTER SLOTS; unserved slots are left out.

    It lists ranges `[first, last, [host, port, id, …], replicas …]`, the primary first. A node that does not know its
    own name leaves the host empty, which means the node that was asked.
    """
    owners: dict[int, Address] = {}
    for first, last, (host, port, *_), *_replicas in answer:
        primary = Address(_text(host) or asked.host, int(port))
        owners |= {slot: primary for slot in _WANTED if first <= slot <= last}
    return owners


def redirection(error: str, asked: Address) -> Redirection | None:
    """From the text of an error such as `MOVED 3999 10.0.0.1:6381`; None for any other error."""
    kind, _, rest = error.partition(" ")
    if kind not in {"MOVED", "ASK"}:
        return None
    slot, _, where = rest.partition(" ")
    host, _, port = where.rpartition(":")
    return Redirection(int(slot), Address(host or asked.host, int(port)), moved=kind == "MOVED")


def _text(word: bytes | str | None) -> str:
    return word.decode() if isinstance(word, bytes) else word or ""
