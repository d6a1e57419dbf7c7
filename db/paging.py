"""Pagination: a bounded page of a list in a stable order, and how many items there are in all."""

from typing import Any, Generic, TypeVar

import msgspec
from sqlalchemy import Select, func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncSession

T = TypeVar("T")


class Page(msgspec.Struct, Generic[T], frozen=True):
    items: list[T]
    total: int
    limit: int
    offset: int


async def fetch_page(
    session: AsyncSession, statement: Select[*tuple[Any, ...]], *, limit: int, offset: int
) -> tuple[list[Any], int]:
    """The page's rows and the number of all rows; `statement` is ordered and unpaged."""
    # Rows are counted, not columns: this session may have no right to read some columns of an entity.
    bare: Select[Any] = statement.order_by(None).with_only_columns(literal_column("1"), maintain_column_froms=True)
    total = await session.scalar(select(func.count()).select_from(bare.subquery()))
    rows = (await session.execute(statement.limit(limit).offset(offset))).all()
    return list(rows), total or 0
