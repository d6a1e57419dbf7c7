"""Table registry: importing this module registers every table in the metadata, for Alembic and for tests of all."""

from db.models import audit, commerce, customer_care, identity, licensing, messaging, money_back, reconciliation, usage
from db.models.columns import METADATA

__all__ = [
    "METADATA",
    "audit",
    "commerce",
    "customer_care",
    "identity",
    "licensing",
    "messaging",
    "money_back",
    "reconciliation",
    "usage",
]
