"""Reads of a customer's own rows: one statement and one round trip, without BEGIN, SET and COMMIT.

    LIST = OwnList(select(...), ORDER, status=License.status == bindparam("status"))    a constant of a repository
    page = await LIST.page(reads, user_id, paging, status="active")

Row-level security needs `np.user_id` to be set before a row is looked at. The statement sets it itself, for the
statement alone:

    WITH speaker AS MATERIALIZED (SELECT set_config('np.user_id', $n, true) AS id)
    SELECT found.* FROM speaker CROSS JOIN LATERAL (
        SELECT * FROM (...) AS wanted WHERE speaker.id IS NOT NULL OFFSET 0
    ) AS found

The inner query needs a column of `speaker`, so no plan can begin with it; and OFFSET keeps the planner from dissolving
it into the outer one, where it might. A plan that looked at rows first would find none of them: it fails closed
(tests/db/test_reads.py forbids the planner one method after another).

Statements are compiled once and are prepared by the driver, and rows are the driver's own records. That is a tenth of
what a transaction with SQLAlchemy's session costs (docs/decisions/0046-short-road.md).

    ONE = Statement(select(...))
    rows = await system_reads.rows(ONE, {"user_id": user_id})

is the same for the application's own reads, which see every row: the statement names the rows itself. Whatever changes
something, and all that staff read, goes through db/unit_of_work.py.
"""

import re
from collections.abc import Mapping, Sequence
from enum import Enum
from time import monotonic
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, Integer, Select, TextClause, UpdateBase, bindparam, func, literal_column, select
from sqlalchemy.dialects.postgresql import asyncpg as dialect

from db.driver import Driver, Sessions
from db.paging import Order, Paging, Rows, cursor_behind, place_of

_DIAL_AGAIN_EVERY: Final = 1.0
"""Seconds, while the name leads to a server that takes no writes."""
READERS: Final = 8
"""Connections of a process for customers' reads: each is needed for one round trip."""
SYSTEM_READERS: Final = 4
"""The same for the application's own."""

_DIALECT: Final = dialect.dialect()  # type: ignore[no-untyped-call]  # left untyped
_JSONB_VERSION: Final = b"\x01"
_PARAMETER: Final = re.compile(r"\$(\d+)")

Values = Mapping[str, Any]
"""Values for bind parameters, by name."""

_NOTHING: Final[Values] = {}
_AS_OWNER: Final = """
WITH speaker AS MATERIALIZED (SELECT set_config('np.user_id', $1, true) AS id)
SELECT found.* FROM speaker CROSS JOIN LATERAL (
    SELECT * FROM (<wanted>) AS wanted WHERE speaker.id IS NOT NULL OFFSET 0
) AS found
"""


class Record:
    """A row of the driver, with its columns as attributes."""

    __slots__ = ("_row",)

    def __init__(self, row: Any) -> None:
        self._row = row

    def __getattr__(self, name: str) -> Any:
        return self._row[name]

    def by_name(self) -> dict[str, Any]:
        return dict(self._row)


class _Reads(Sessions):
    """Connects when a connection is needed. `url` and `name` as for SystemSessions (db/driver.py)."""

    def __init__(self, url: str, *, name: str, most: int, settings: Mapping[str, str]) -> None:
        super().__init__(url, name=name, most=most, settings=settings, prepare=_read_jsonb)
        self._replaced_at = float("-inf")

    async def _found(self, text: str, *arguments: Any) -> list[Record]:
        async with self.session() as driver:
            found = await driver.fetch(text, *arguments)
            if _takes_no_writes(driver):
                await self._dial_again()
        return [Record(row) for row in found]

    async def _dial_again(self) -> None:
        """After a failover the name may lead to another server already. No write comes here that would be refused."""
        if monotonic() - self._replaced_at >= _DIAL_AGAIN_EVERY:
            self._replaced_at = monotonic()
            await self.replace_all()


class CustomerReads(_Reads):
    def __init__(self, url: str, *, name: str = "nextpanel-billing") -> None:
        super().__init__(url, name=name, most=READERS, settings={})

    async def rows(self, user_id: UUID, statement: "OwnStatement", values: Values) -> list[Record]:
        """The rows that this user may see."""
        return await self._found(statement.text, str(user_id), *statement.arguments(values))


class SystemReads(_Reads):
    """Its connections are the application's (np_system) as long as they live: no customer's statement gets one."""

    def __init__(self, url: str, *, name: str = "nextpanel-billing") -> None:
        super().__init__(url, name=name, most=SYSTEM_READERS, settings={"role": "np_system"})

    async def rows(self, statement: "Statement", values: Values = _NOTHING) -> list[Record]:
        return await self._found(statement.text, *statement.arguments(values))


class Statement:
    """A statement of the application's own, compiled. Its columns have names of their own.

    One that changes something runs in a transaction (`Transaction.run` in db/unit_of_work.py), and names every value:
    defaults of a model are not filled in.
    """

    def __init__(self, wanted: Select[*tuple[Any, ...]] | TextClause | UpdateBase) -> None:
        compiled = wanted.compile(dialect=_DIALECT)
        self._names: Sequence[str] = tuple(compiled.positiontup or ())
        self._constants = {
            name: value.value if isinstance(value, Enum) else value for name, value in compiled.params.items()
        }
        self.text = compiled.string

    def arguments(self, values: Values) -> list[Any]:
        """In the order of the text: values of the bind parameters, and the constants in the SELECT."""
        given = {**self._constants, **values}
        return [given[name] for name in self._names]


class OwnStatement(Statement):
    """A SELECT of a customer's rows, compiled."""

    def __init__(self, wanted: Select[*tuple[Any, ...]] | TextClause) -> None:
        super().__init__(wanted)
        inner = _PARAMETER.sub(lambda found: f"${int(found[1]) + 1}", self.text)
        self.text = _AS_OWNER.replace("<wanted>", inner)


class OwnList:
    """A paged list of a customer's rows. Each combination of its filters is a statement of its own, compiled once."""

    def __init__(self, wanted: Select[*tuple[Any, ...]], order: Order, **filters: ColumnElement[bool]) -> None:
        """`wanted` has no order and is not paged. A filter has a bind parameter of its own name."""
        self._wanted = wanted
        self._order = order
        self._filters = filters
        self._compiled: dict[tuple[frozenset[str], bool], OwnStatement] = {}

    async def page(
        self,
        reads: CustomerReads,
        user_id: UUID,
        paging: Paging,
        *,
        filters: Values = _NOTHING,
        values: Values = _NOTHING,
    ) -> Rows:
        """`filters`: those that apply, with their values. `values`: what else the statement needs, such as `now`."""
        values = {**values, **filters, "limit": paging.limit + 1, "offset": paging.offset}
        place = None if paging.cursor is None else place_of(paging, self._order)
        if place is not None:
            values |= dict(zip(self._order.names, place, strict=True))
        # One row more than is shown tells whether there is a next page.
        found = await reads.rows(user_id, self.statement(filters, behind=place is not None), values)
        shown = found[: paging.limit]
        if not found and (paging.offset or place is not None):  # behind the end: nothing tells the total
            values |= {"limit": 1, "offset": 0}
            found = await reads.rows(user_id, self.statement(filters, behind=False), values)
        total: int = found[0].total if found else 0
        more = len(found) > len(shown) > 0
        last = [getattr(shown[-1], column.key) for column in self._order.columns] if more else None
        return Rows(list(shown), total, paging, None if last is None else cursor_behind(paging, last))

    def statement(self, filters: Values = _NOTHING, *, behind: bool = False) -> OwnStatement:
        """The statement with these filters, and with a cursor or without."""
        which = frozenset(filters), behind
        statement = self._compiled.get(which)
        if statement is None:
            statement = self._compiled[which] = self._compile(filters, behind=behind)
        return statement

    def _compile(self, filters: Values, *, behind: bool) -> OwnStatement:
        wanted = self._wanted.where(*(self._filters[name] for name in filters))
        bare: Select[Any] = wanted.with_only_columns(literal_column("1"), maintain_column_froms=True)
        total = select(func.count()).select_from(bare.subquery()).scalar_subquery()
        listed = self._order.sorted(wanted.add_columns(total.label("total")))
        if behind:
            listed = listed.where(self._order.behind_named())
        limit, offset = bindparam("limit", type_=Integer), bindparam("offset", type_=Integer)
        return OwnStatement(listed.limit(limit).offset(offset))


def _takes_no_writes(driver: Driver) -> bool:
    """Whether the server is a standby, or was told to take no writes. From PostgreSQL 14 on it reports both."""
    told = driver.get_settings()
    return "on" in {getattr(told, name, "off") for name in ("in_hot_standby", "default_transaction_read_only")}


async def _read_jsonb(connection: Any) -> None:
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        format="binary",
        encoder=lambda value: _JSONB_VERSION + msgspec.json.encode(value),
        decoder=lambda value: msgspec.json.decode(value[1:]),
    )
