"""Pagination: a bounded page of a list in a stable order, and how many items there are in all.

A client goes on by `offset`, which counts rows from the beginning, or by `cursor` (keyset pagination): the place of the
last row that it has, in the list's order. Rows that are added or deleted meanwhile move an offset, so that a row comes
twice or not at all. They do not move a cursor, and the database finds its place by an index, however far down it is.

A cursor is opaque and checks itself. It consists of a checksum, a digest of the list and its filters, and the values of
the order's columns in the last row. So a cut, a mistyped and another list's cursor are refused, instead of showing some
other page. It is no secret and gives no right: a forged one can only name a place, in a list that the session may see.
"""

import binascii
import hashlib
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Generic, NamedTuple, TypeVar

import msgspec
from sqlalchemy import ColumnElement, Row, Select, bindparam, func, literal, literal_column, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import FieldError, InvalidInput

T = TypeVar("T")

LONGEST_CURSOR: Final = 2000
"""Characters. The longest order has a text of 200 in it, and JSON writes a control character as six."""
_DIGEST: Final = 8
_LARGEST: Final = 2**63 - 1
_CHECKED: Final[dict[type, Any]] = {
    datetime: Annotated[datetime, msgspec.Meta(tz=True)],
    int: Annotated[int, msgspec.Meta(ge=-_LARGEST, le=_LARGEST)],
    str: Annotated[str, msgspec.Meta(pattern=r"^[^\x00]*$")],
}
"""What a value of a cursor has to be, so that the database can compare with it: by its column's type in Python."""
_UNKNOWN: Final = "is no cursor of this API: send a next_cursor as it came, or begin again without a cursor"
_FOREIGN: Final = (
    "belongs to another list or to other filters: send the filters that it came with, or begin again without a cursor"
)


class Page(msgspec.Struct, Generic[T], frozen=True):
    """A page of a list."""

    items: Annotated[list[T], msgspec.Meta(description="The page, in the list's order.")]
    total: Annotated[int, msgspec.Meta(description="How many items the whole list has.", examples=[1])]
    limit: Annotated[int, msgspec.Meta(description="How many items a page has at most.", examples=[20])]
    offset: Annotated[int, msgspec.Meta(description="How many items were skipped.", examples=[0])]
    next_cursor: Annotated[
        str | None,
        msgspec.Meta(
            description="Send it as `cursor`, with the same filters, for the next page; null on the last page.",
            examples=[None],
        ),
    ] = None


class Paging(NamedTuple):
    """What a client asks for. `list_name` says which list, with its filters: a cursor of another one is refused."""

    list_name: str
    limit: int = 20
    offset: int = 0
    cursor: str | None = None


class Order:
    """The order of a list: columns that together are unique and never change. Descending, unless it says otherwise."""

    def __init__(self, *columns: Any, descending: bool = True) -> None:
        self.columns: Sequence[Any] = columns
        self._descending = descending

    def sorted(self, statement: Select[*tuple[Any, ...]]) -> Select[*tuple[Any, ...]]:
        return statement.order_by(*(column.desc() if self._descending else column for column in self.columns))

    @property
    def names(self) -> Sequence[str]:
        """The bind parameters of `behind_named`."""
        return [f"behind_{column.key}" for column in self.columns]

    def behind(self, place: Sequence[Any]) -> ColumnElement[bool]:
        """Whether a row comes after this place."""
        return self._behind([literal(value, column.type) for column, value in zip(self.columns, place, strict=True)])

    def behind_named(self) -> ColumnElement[bool]:
        """The same with bind parameters, for a statement that is compiled once."""
        pairs = zip(self.columns, self.names, strict=True)
        return self._behind([bindparam(name, type_=column.type) for column, name in pairs])

    def _behind(self, values: Sequence[ColumnElement[Any]]) -> ColumnElement[bool]:
        # Written out where it is one column: an index is walked by it, which a row of one is not sure to be.
        mine, last = (self.columns[0], values[0]) if len(values) == 1 else (tuple_(*self.columns), tuple_(*values))
        return mine < last if self._descending else mine > last

    def place_of(self, row: Row[*tuple[Any, ...]]) -> list[Any]:
        """The row has the order's columns, or the entity that they belong to."""
        has = row._mapping  # noqa: SLF001  SQLAlchemy's public name for it
        return [has[column] if column in has else getattr(has[column.class_], column.key) for column in self.columns]


class Rows(NamedTuple):
    """A page's rows as they were selected."""

    rows: list[Any]
    total: int
    paging: Paging
    next_cursor: str | None

    def page(self, items: Iterable[T]) -> Page[T]:
        return Page(list(items), self.total, self.paging.limit, self.paging.offset, self.next_cursor)


async def fetch_page(session: AsyncSession, statement: Select[*tuple[Any, ...]], order: Order, paging: Paging) -> Rows:
    """The page's rows and the number of all rows; `statement` has no order and is not paged."""
    listed = order.sorted(statement)
    if paging.cursor is not None:
        listed = listed.where(order.behind(place_of(paging, order)))
    # Rows are counted, not columns: this session may have no right to read some columns of an entity.
    bare: Select[Any] = statement.with_only_columns(literal_column("1"), maintain_column_froms=True)
    total = await session.scalar(select(func.count()).select_from(bare.subquery()))
    # One row more than is shown tells whether there is a next page.
    found = (await session.execute(listed.limit(paging.limit + 1).offset(paging.offset))).all()
    shown = found[: paging.limit]
    following = cursor_behind(paging, order.place_of(shown[-1])) if len(found) > len(shown) else None
    return Rows(list(shown), total or 0, paging, following)


def cursor_behind(paging: Paging, place: Sequence[Any]) -> str:
    """The cursor of a page that ends with the row at `place`."""
    content = _digest(paging.list_name.encode()) + msgspec.json.encode(list(place))
    return urlsafe_b64encode(_digest(content) + content).rstrip(b"=").decode()


def place_of(paging: Paging, order: Order) -> list[Any]:
    """The values that a cursor holds; InvalidInput where it is not one of this list."""
    content = _content(paging.cursor or "")
    if content is None:
        raise _refused(_UNKNOWN)
    if content[:_DIGEST] != _digest(paging.list_name.encode()):
        raise _refused(_FOREIGN)
    types = [_CHECKED.get(column.type.python_type, column.type.python_type) for column in order.columns]
    try:
        values = msgspec.json.decode(content[_DIGEST:], type=tuple[*types])  # type: ignore[valid-type]  # known at run time
        return [value.astimezone(UTC) if isinstance(value, datetime) else value for value in values]
    except (msgspec.MsgspecError, UnicodeDecodeError, OverflowError):
        raise _refused(_UNKNOWN) from None


def _content(cursor: str) -> bytes | None:
    """What follows the checksum; None where the text is not exactly what was given out."""
    try:
        raw = b64decode(cursor + "=" * (-len(cursor) % 4), altchars="-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    is_spelled_so = urlsafe_b64encode(raw).rstrip(b"=").decode() == cursor
    return raw[_DIGEST:] if is_spelled_so and raw[:_DIGEST] == _digest(raw[_DIGEST:]) else None


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_DIGEST).digest()


def _refused(what: str) -> InvalidInput:
    return InvalidInput(f"cursor {what}", errors=(FieldError("cursor", what),))
