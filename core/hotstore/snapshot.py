"""Atomic snapshot of a license: the command that reads it, and the meaning of the answer.

One function call reads document, mark, totals and holds, so they belong to one instant. So "there is no such license"
can be told from "it is not loaded yet", and no hold is seen both before and after its settlement.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

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


def read_key_command(key_id: str) -> tuple[str | int, ...]:
    return ("FCALL_RO", functions.READ_KEY, 2, keys.api_key(key_id), keys.mark(keys.bucket_of_api_key(key_id)))


def decode_key_reading(answer: Sequence[Any]) -> KeyReading:
    packed, loaded = answer
    return KeyReading(None if packed is None else codec.decode_api_key(packed), loaded)


def _counts(values: Sequence[bytes | None]) -> dict[Resource, int]:
    return {resource: int(value) for resource, value in zip(RESOURCES, values, strict=True) if value is not None}
