"""Audit read model: an entry with the account of its actor."""

from datetime import datetime
from typing import NamedTuple

from db.models.identity import Role
from db.models.messaging import AuditRow


class Named(NamedTuple):
    """The account is None where the actor has none: the application, or an id that no account has."""

    entry: AuditRow
    role: Role | None
    full_name: str | None
    email: str | None
    deleted_at: datetime | None
