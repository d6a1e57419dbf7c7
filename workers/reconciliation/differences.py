"""Difference between a record of the hot store and what Postgres says of it. Pure."""

import re
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import msgspec

from core.hotstore import codec
from core.hotstore.comparison import (
    ABSENT,
    NewTotal,
    StoredRecord,
    Total,
)
from core.licensing.plan import Resource
from core.licensing.record import ApiKeyRecord, LicenseRecord
from db.models.reconciliation import RecordFault
from workers.reconciliation.expected import Expected

Record = LicenseRecord | ApiKeyRecord

_STAMP: Final = re.compile(rb"=(-?\d{1,18}):(\d{1,18})")
_NUMBER: Final = re.compile(rb"=(-?\d{1,18})")
_NO_TOTAL: Final = Total()


class Difference(NamedTuple):
    """What differs; None and empty where nothing does. `found` tells what is in Redis, but never a secret."""

    document: RecordFault | None
    found: str | None
    lease: RecordFault | None
    totals: Mapping[Resource, RecordFault]

    @property
    def differs(self) -> bool:
        return self.document is not None or self.lease is not None or bool(self.totals)


def compare(expected: Expected | None, stored: StoredRecord, decode: Callable[[bytes], Record]) -> Difference:
    record = _readable(stored, decode)
    if expected is None:
        fault, found = _unknown(stored, record)
        return Difference(fault, found, None, {})
    fault, found = _document(expected.record, stored, record)
    totals = {name: _total(expected.totals.get(name), raw) for name, raw in stored.totals.items()}
    wrong_totals = {name: wrong for name, wrong in totals.items() if wrong is not None}
    return Difference(fault, found, _lease(expected, stored.lease), wrong_totals)


def _readable(stored: StoredRecord, decode: Callable[[bytes], Record]) -> Record | None:
    try:
        return None if stored.packed is None else decode(stored.packed)
    except (msgspec.MsgspecError, ValueError):
        return None


def _unknown(stored: StoredRecord, record: Record | None) -> tuple[RecordFault | None, str | None]:
    if stored.absent or (record is not None and _says_no(record)):
        return None, None
    return "unknown", "what cannot be read" if record is None else f"{record.epoch}:{record.version}"


def _document(expected: Record, stored: StoredRecord, record: Record | None) -> tuple[RecordFault | None, str | None]:
    if stored.absent:
        return "missing", None
    if record is None:
        return "wrong", "what cannot be read"
    if _says_no(record):
        return "wrong", f"a tombstone of {record.epoch}:{record.version}"
    stamp = f"{record.epoch}:{record.version}"
    ages = (record.epoch, record.version), (expected.epoch, expected.version)
    if ages[0] != ages[1]:
        return ("older" if ages[0] < ages[1] else "newer"), stamp
    other = [name for name in expected.__struct_fields__ if getattr(record, name) != getattr(expected, name)]
    return ("wrong", f"{stamp} with another {', '.join(other)}") if other else (None, None)


def _says_no(record: Record) -> bool:
    """Whether the record says that there is none: a tombstone, or an API key that is switched off."""
    return record.tombstone if isinstance(record, LicenseRecord) else record.version == 0


def _lease(expected: Expected, raw: bytes) -> RecordFault | None:
    """A lease counts where it is of this version; readers pass over all others."""
    if isinstance(expected.record, ApiKeyRecord):
        return None
    wanted, age = expected.lease, (expected.record.epoch, expected.record.version)
    try:
        record = codec.decode_lease(raw[1:]) if raw[:1] == b"=" else None
    except (msgspec.MsgspecError, ValueError):
        record = None
    if wanted is None:
        counts = record is not None and record.token and (record.epoch, record.version) == age
        return "unknown" if counts else None
    if record is None:
        return "missing" if raw == ABSENT else "wrong"
    ages = (record.epoch, record.version, record.signed_at), (wanted.epoch, wanted.version, wanted.signed_at)
    if ages[0] != ages[1]:
        return "older" if ages[0] < ages[1] else "newer"
    return None if record == wanted else "wrong"


def _total(expected: NewTotal | None, raw: Total) -> RecordFault | None:
    if raw == _NO_TOTAL:
        return None if expected is None else "missing"
    if expected is None:
        return "unknown"
    used, stamp = _NUMBER.fullmatch(raw.used), _STAMP.fullmatch(raw.stamp)
    if used is None or stamp is None:
        return "wrong"
    age, right_age = (int(stamp[1]), int(stamp[2])), (expected.epoch, expected.version)
    if age != right_age:
        return "older" if age < right_age else "newer"
    return None if int(used[1]) == expected.used else "wrong"
