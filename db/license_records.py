"""License records: a license's row as the record that Redis has of it, and validators judge by.

Here and not in the workers, because the billing API explains a verdict by the same record that the relay projects.
"""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, select

from core.hotstore import keys
from core.licensing.plan import LIMITS, RESOURCES
from core.licensing.record import LicenseRecord
from db.models.licensing import FingerprintPolicy, License
from db.models.messaging import ProjectionEpoch

EPOCH: Final = select(ProjectionEpoch.epoch).scalar_subquery().label("epoch")
LICENSE_ROWS: Final = select(
    EPOCH,
    License.id,
    License.license_key_hash,
    License.version,
    License.status,
    License.activation_date,
    License.expiry_date,
    License.grace_until,
    License.features,
    License.fingerprint_policy,
    License.fingerprint,
    *(getattr(License, name) for name in LIMITS),
)


def license_record(row: Row[Any]) -> tuple[bytes, LicenseRecord]:
    """A row of LICENSE_ROWS, and the hash in its key; ValueError where that is no hash."""
    keys.short_hash(row.license_key_hash)
    record = LicenseRecord(
        epoch=row.epoch,
        version=row.version,
        license_id=row.id,
        status=row.status,
        valid_from=unix(row.activation_date),
        valid_until=unix(row.expiry_date),
        grace_until=unix(row.grace_until),
        features=flags(row.features),
        limits={resource: getattr(row, name) for resource, name in zip(RESOURCES, LIMITS, strict=True)},
        fingerprint_required=row.fingerprint_policy is FingerprintPolicy.REQUIRED,
        fingerprint=row.fingerprint,
    )
    return row.license_key_hash, record


def flags(features: object) -> dict[str, bool]:
    """Plain flags. All else in `features` ("support": "email") describes, and grants nothing."""
    if not isinstance(features, dict):
        return {}
    return {name: value for name, value in features.items() if isinstance(value, bool)}


def unix(instant: datetime | None) -> float | None:
    return None if instant is None else instant.timestamp()
