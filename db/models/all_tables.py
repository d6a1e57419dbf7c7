"""Importing this module makes every table known to the metadata: for Alembic and for tests that walk all tables."""

from db.models import audit, commerce, identity, licensing, messaging, reconciliation, usage
from db.models.columns import METADATA

__all__ = ["METADATA", "audit", "commerce", "identity", "licensing", "messaging", "reconciliation", "usage"]
