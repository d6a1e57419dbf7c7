"""Atomic snapshot of a license: the command that reads it, and the meaning of the answer.

One function call reads document, mark, totals and holds, so they belong to one instant. So "there is no such license"
can be told from "it is not loaded yet", and no hold is seen both before and after its settlement.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

from core.hotstore import codec, functions, keys
from core.licensing.plan import RESOURCES, Resource
from core.licensing.record import ApiKeyRecord, LicenseRecord, Usage

NOTHING_USED: Final = Usage()


class Reading(NamedTuple):
    """`loaded` names the incarnation of the bucket; None while its rebuild is not finished.

    Nothing may be concluded from an absent record, or an absent total, in a bucket that is not loaded.
    """

    record: LicenseRecord | None
    loaded: bytes | None
    usage: Usage
    hold_ends_in: float | None
    """Seconds until a live hold runs out, which changes `usage` without a write; None without holds."""


class Snapshot(NamedTuple):
    """A license as `read_many` tells it, and as a validator keeps it; the mark of its bucket comes beside it."""

    record: LicenseRecord | None
    usage: Usage
    hold_ends_in: float | None
    """As in `Reading`."""


class KeyReading(NamedTuple):
    record: ApiKeyRecord | None
    loaded: bytes | None


def read_keys(h: str) -> tuple[str, ...]:
    """KEYS of the function `read`."""
    return (keys.document(h), keys.usage(h), keys.holds(h), keys.hold_ends(h), keys.mark_of(h))


def reserve_keys(h: str) -> tuple[str, ...]:
    """KEYS of the function `reserve`."""
    return (*read_keys(h), keys.ended_of(h))


def read_command(h: str) -> tuple[str | int, ...]:
    names = read_keys(h)
    return ("FCALL_RO", functions.READ, len(names), *names)


def decode_reading(answer: Sequence[Any]) -> Reading:
    document, loaded, used, held, hold_ends_in = answer
    return Reading(
        record=None if document is None else codec.decode_license(document),
        loaded=loaded,
        usage=Usage(_counts(used), _counts(held) if held else {}),
        hold_ends_in=None if hold_ends_in is None else hold_ends_in / 1000,
    )


def read_many_command(hashes: Sequence[str], *, in_cluster: bool) -> tuple[str | int, ...]:
    """Reads these licenses; in a Cluster they are of one bucket, and the keys tell whether its node was asked."""
    names = [name for h in hashes for name in read_keys(h)] if in_cluster else ()
    return ("FCALL_RO", functions.READ_MANY, len(names), *names, *hashes)


_unpack: Final = msgspec.msgpack.Decoder(
    tuple[LicenseRecord | None, dict[Resource, int], dict[Resource, int], int | None]
).decode
_pack: Final = msgspec.msgpack.Encoder(uuid_format="bytes").encode


def decode_snapshot(packed: bytes) -> Snapshot:
    """Raises ValueError where it cannot be read."""
    record, used, held, ends_in = _unpack(packed)
    if record is not None:
        record = codec.with_unlimited(record)
    return Snapshot(record, Usage(used, held), None if ends_in is None else ends_in / 1000)


def encode_snapshot(record: LicenseRecord | None, usage: Usage) -> bytes:
    """What `decode_snapshot` reads, without the end of a hold."""
    return _pack((record, usage.used, usage.held, None))


def read_key_command(key_id: str) -> tuple[str | int, ...]:
    return ("FCALL_RO", functions.READ_KEY, 2, keys.api_key(key_id), keys.mark(keys.bucket_of_api_key(key_id)))


def decode_key_reading(answer: Sequence[Any]) -> KeyReading:
    packed, loaded = answer
    return KeyReading(None if packed is None else codec.decode_api_key(packed), loaded)


def _counts(values: Sequence[bytes | None]) -> dict[Resource, int]:
    return {resource: int(value) for resource, value in zip(RESOURCES, values, strict=True) if value is not None}
