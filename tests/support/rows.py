"""A row for any table, made from the metadata: for tests that walk all tables, also future ones."""

import enum
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Column, Table

from core.clock import utc_now
from core.ids import new_id, new_token
from db.models.commerce import InvoiceStatus

STARTER_PLAN: Final = UUID("0198d2f0-0000-7000-8000-000000000001")
"""Filled by a migration."""

_VALUES: Final[dict[type, Callable[[], Any]]] = {
    UUID: new_id,
    str: new_token,
    bytes: lambda: new_token().encode(),
    int: lambda: 1,
    bool: lambda: True,
    datetime: utc_now,
    object: dict,  # what SQLAlchemy calls the Python type of JSONB
}


def a_row(table: Table, user_id: UUID, made: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The values that an INSERT needs, and no more. `made`: rows of other tables, by name, for foreign keys."""
    needed = (column for column in table.c if not column.nullable and column.server_default is None)
    row = {column.name: _value(column, made) for column in needed if column.name != "user_id"}
    if table.name == "invoices":
        row["status"] = InvoiceStatus.OPEN  # a draft is shown to nobody
    return row | ({"id": user_id} if table.name == "users" else {"user_id": user_id})


def a_link(subscription: Mapping[str, Any]) -> dict[str, Any]:
    """The row that says which license the subscription pays for."""
    license_id, user_id = subscription["license_id"], subscription["user_id"]
    return {"subscription_id": subscription["id"], "license_id": license_id, "user_id": user_id, "position": 0}


def _value(column: Column[Any], made: Mapping[str, Mapping[str, Any]]) -> Any:
    for key in column.foreign_keys:
        return made[key.column.table.name][key.column.name]
    kind = column.type.python_type
    return next(iter(kind)) if issubclass(kind, enum.Enum) else _VALUES[kind]()
