"""Where a Cluster keeps what: keys to slots, slots to nodes. Pure; both ends of the projection read it.

A Cluster cuts its keys into 16,384 slots by a CRC16 of the key, or of the part in braces where there is one (Cluster
specification, "Hash tags"; the CRC is XMODEM's, which Python's binascii has). Every key of ours that belongs to a
bucket carries the bucket in braces, so 256 slots are all that matters, and a table of 256 owners is the whole map.
Two keys have no bucket, keys.SYNC and keys.JWKS; each lies where its name says.
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
    """What a node answers about a slot that it does not serve, or not alone."""

    slot: int
    address: Address
    moved: bool
    """True: the slot lives there now (MOVED). False: it is on its way there, and only this key was asked for (ASK)."""


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
    """Who serves the slots that matter, from the answer to CLUSTER SLOTS; a slot nobody serves is left out.

    It lists ranges `[first, last, [host, port, id, …], replicas …]`, the primary first. A node that does not know its
    own name leaves the host empty, which means: the one you have asked.
    """
    owners: dict[int, Address] = {}
    for first, last, (host, port, *_), *_replicas in answer:
        primary = Address(_text(host) or asked.host, int(port))
        owners |= {slot: primary for slot in _WANTED if first <= slot <= last}
    return owners


def redirection(error: str, asked: Address) -> Redirection | None:
    """From an error's text, `MOVED 3999 10.0.0.1:6381`; None where it is another error."""
    kind, _, rest = error.partition(" ")
    if kind not in {"MOVED", "ASK"}:
        return None
    slot, _, where = rest.partition(" ")
    host, _, port = where.rpartition(":")
    return Redirection(int(slot), Address(host or asked.host, int(port)), moved=kind == "MOVED")


def _text(word: bytes | str | None) -> str:
    return word.decode() if isinstance(word, bytes) else word or ""
