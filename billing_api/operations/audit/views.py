"""Audit read model: an entry with the account of its actor."""

from datetime import datetime
from typing import NamedTuple

from db.models.identity import Role
from db.models.messaging import AuditRow


class Account(NamedTuple):
    """What is shown of an actor's account; all None where the actor has none."""

    role: Role | None
    full_name: str | None
    email: str | None
    deleted_at: datetime | None
    service_account: str | None = None
    """Its name, where the actor is one."""


class Named(NamedTuple):
    """The account is empty where the actor has none: the application, or an id that no account has."""

    entry: AuditRow
    account: Account

    @classmethod
    def of(cls, entry: AuditRow, *account: object) -> "Named":
        """A row of `repository.named`."""
        return cls(entry, Account(*account))  # type: ignore[arg-type]  # as selected there
