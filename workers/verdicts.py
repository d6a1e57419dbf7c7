"""What is wrong with a record of the hot store, told from what Postgres says of it. Pure."""

import re
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import msgspec

from core.hotstore.comparing import NewTotal, Standing, Total
from core.licensing.plan import Resource
from core.licensing.record import ApiKeyRecord, LicenseRecord
from db.models.reconciliation import Fault
from workers.truth import Expected

Record = LicenseRecord | ApiKeyRecord

_STAMP: Final = re.compile(rb"=(-?\d{1,18}):(\d{1,18})")
_NUMBER: Final = re.compile(rb"=(-?\d{1,18})")
_NO_TOTAL: Final = Total()


class Verdict(NamedTuple):
    """None and nothing where all is well. `found` says what stands there; never what a secret is."""

    document: Fault | None
    found: str | None
    totals: Mapping[Resource, Fault]

    @property
    def wrong(self) -> bool:
        return self.document is not None or bool(self.totals)


def judge(expected: Expected | None, standing: Standing, decode: Callable[[bytes], Record]) -> Verdict:
    record = _readable(standing, decode)
    if expected is None:
        fault, found = _unknown(standing, record)
        return Verdict(fault, found, {})
    fault, found = _document(expected.record, standing, record)
    totals = {name: _total(expected.totals.get(name), raw) for name, raw in standing.totals.items()}
    return Verdict(fault, found, {name: wrong for name, wrong in totals.items() if wrong is not None})


def _readable(standing: Standing, decode: Callable[[bytes], Record]) -> Record | None:
    try:
        return None if standing.packed is None else decode(standing.packed)
    except (msgspec.MsgspecError, ValueError):
        return None


def _unknown(standing: Standing, record: Record | None) -> tuple[Fault | None, str | None]:
    if standing.absent or (record is not None and _says_no(record)):
        return None, None
    return "unknown", "what cannot be read" if record is None else f"{record.epoch}:{record.version}"


def _document(expected: Record, standing: Standing, record: Record | None) -> tuple[Fault | None, str | None]:
    if standing.absent:
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
    """What stands where Postgres has no row, or none any more."""
    return record.tombstone if isinstance(record, LicenseRecord) else record.version == 0


def _total(expected: NewTotal | None, raw: Total) -> Fault | None:
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
