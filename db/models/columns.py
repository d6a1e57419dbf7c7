"""Declarative base of all tables, and their common column types.

Identifiers come from `core.ids`, instants are `timestamptz` in UTC, amounts are integer minor units. Nothing is loaded
lazily: a query names everything that it reads.
"""

import enum
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, ClassVar
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, Dialect, Enum, Integer, LargeBinary, MetaData, Text, Uuid
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, mapped_column
from sqlalchemy.types import TypeDecorator
from typing_extensions import override

from core.ids import new_id
from db.clock import NOW

METADATA = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


class Instant(TypeDecorator[datetime]):
    """`timestamptz`. A datetime without its offset from UTC is refused: the driver would take it for UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    @property
    @override
    def python_type(self) -> type[datetime]:
        return datetime

    @override
    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise TypeError("an instant needs its offset from UTC")
        return value


class Table(DeclarativeBase):
    """Base of every table."""

    metadata = METADATA
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        UUID: Uuid(),
        datetime: Instant(),
        str: Text(),
        bytes: LargeBinary(),
        int: Integer(),
        dict[str, Any]: JSONB(),
        list[str]: JSONB(),
        list[Any]: JSONB(),
    }


RowId = Annotated[UUID, mapped_column(primary_key=True, default=new_id)]
CreatedAt = Annotated[datetime, mapped_column(server_default=NOW)]
UpdatedAt = Annotated[datetime, mapped_column(server_default=NOW, onupdate=NOW)]
BigInt = Annotated[int, mapped_column(BigInteger)]


def enum_type(members: type[enum.StrEnum], name: str) -> Enum:
    """A native PostgreSQL enum that stores the members' values."""
    values: Callable[[type[enum.StrEnum]], list[str]] = lambda kind: [member.value for member in kind]  # noqa: E731  SQLAlchemy wants a callable
    return Enum(members, name=name, values_callable=values, create_type=False)
