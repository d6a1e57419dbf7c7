"""Importing this module makes every table known to the metadata: for Alembic and for tests that walk all tables."""

from db.models import (
    audit as auditing,
)
from db.models import (
    commerce,
    credentials,
    leases,
    licensing,
    reconciliation,
)
from db.models import (
    identity as people,
)
from db.models import (
    messaging as plumbing,
)
from db.models.columns import METADATA

__all__ = [
    "METADATA",
    "auditing",
    "commerce",
    "credentials",
    "leases",
    "licensing",
    "people",
    "plumbing",
    "reconciliation",
]
