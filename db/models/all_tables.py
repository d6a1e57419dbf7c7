"""Importing this module makes every table known to the metadata: for Alembic and for tests that walk all tables."""

from db.models import auditing, commerce, credentials, leases, licensing, people, plumbing, reconciliation
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
