"""Licenses as they are read for showing, with what stands in other tables. A file of its own: SQL and wire share it."""

from typing import Any, NamedTuple
from uuid import UUID

from db.models.licensing import License


class Shown(NamedTuple):
    """A license as its owner reads it: with its plan's name, its subscription and the open causes."""

    license: License
    plan: str
    subscription_id: UUID | None
    causes: list[dict[str, Any]]


class ForStaff(NamedTuple):
    """A license as staff read it."""

    license: License
    plan: str
    email: str
    subscription_id: UUID | None
    causes: list[dict[str, Any]]
