"""The audit trail on the wire."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec

from db.models.messaging import AuditRow


class AuditView(msgspec.Struct, frozen=True, kw_only=True):
    """A privileged act. `actor_id` null is the application itself."""

    id: int
    at: datetime
    actor_id: UUID | None
    action: str
    target_kind: str
    target_id: str
    detail: dict[str, Any]
    request_id: str | None

    @classmethod
    def of(cls, row: AuditRow) -> "AuditView":
        return msgspec.convert(row, cls, from_attributes=True)


class LicenseEventView(msgspec.Struct, frozen=True, kw_only=True):
    """An event of a license as its owner is told it: staff have no names here."""

    at: datetime
    action: str
    actor: Literal["owner", "staff", "system"]
    detail: dict[str, Any]
