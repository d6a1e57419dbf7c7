"""Key rotation: re-encrypts under the current key-encryption key what is still sealed under another one.

It runs beside everything else. Rows are walked by their primary key, some hundred at a time; each batch is locked,
sealed and committed before the next. Rows that others have locked are left for the next walk. So nobody waits, two runs
share the work, and no locks cross. A run that is killed has done whole batches, and the next run skips what is current.

It ends when nothing is left. A row that another process wrote meanwhile under the old key is found by the next walk. If
such rows keep coming, that process does not have the new key yet.

Sealing a license's key anew changes no version (0015_protection.sql). Sealing an API key's secret anew does, and its
record in Redis follows within milliseconds. Readers know both keys all the while.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Integer, LargeBinary, Row, bindparam, func, literal, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from core.crypto.sealing import CannotOpen, Sealer
from core.parts import step
from db.sealed_columns import SEALED, SealedColumn
from db.unit_of_work import Database

_AT_ONCE: Final = 200
_MOST_WALKS: Final = 5

Progress = Callable[[str, int, int], None]
"""Which column, how many are done, of how many."""


class Unreadable(NamedTuple):
    """A value that opens with no key we have, or belongs to another place."""

    place: str
    row: str
    why: str


class Resealed(NamedTuple):
    """`under`: by place, how many values lie sealed under which key id. `done`: how many this run has sealed."""

    done: int
    under: Mapping[str, Counter[str]]
    unreadable: Sequence[Unreadable]

    def left(self, current: str) -> int:
        return sum(count for found in self.under.values() for key_id, count in found.items() if key_id != current)


class Resealing:
    def __init__(
        self, database: Database, sealer: Sealer, *, at_once: int = _AT_ONCE, columns: Sequence[SealedColumn] = SEALED
    ) -> None:
        self._database = database
        self._sealer = sealer
        self._at_once = at_once
        self._columns = columns
        self._unreadable: dict[tuple[str, str], Unreadable] = {}

    async def run(self, progress: Progress = lambda _place, _done, _of: None) -> Resealed:
        done = 0
        for _ in range(_MOST_WALKS):
            left = Resealed(0, await self.count(), ()).left(self._sealer.current)
            if left <= len(self._unreadable):
                break
            for column in self._columns:
                done += await self._walk(column, done, done + left, progress)
        return Resealed(done, await self.count(), list(self._unreadable.values()))

    async def count(self) -> dict[str, Counter[str]]:
        """How many values lie under which key id, place by place, as they are now."""
        found: dict[str, Counter[str]] = {}
        async with self._database.as_system() as tx:
            for column in self._columns:
                rows = await tx.session.execute(_key_ids(column))
                found[column.name] = Counter({row[0]: row[1] for row in rows})
        return found

    async def _walk(self, column: SealedColumn, before: int, total: int, progress: Progress) -> int:
        """Once over a column, from its first row to its last."""
        last: Sequence[Any] | None = None
        done = 0
        while True:
            async with step(), self._database.as_system() as tx:
                rows = (await tx.session.execute(_stale(column, self._sealer.current, last, self._at_once))).all()
                done += await self._reseal(tx.session, column, rows)
            progress(column.name, before + done, total)
            if len(rows) < self._at_once:
                return done
            last = [getattr(rows[-1], key.name) for key in column.of.primary_key]

    async def _reseal(self, session: AsyncSession, column: SealedColumn, rows: Sequence[Row[Any]]) -> int:
        changes = []
        for row in rows:
            facts = row._asdict()
            key = {f"this_{name.name}": facts[name.name] for name in column.of.primary_key}
            try:
                fresh = self._sealer.reseal(facts["sealed_value"], context=column.context_of(facts))
            except CannotOpen as failure:
                place = Unreadable(column.name, ", ".join(map(str, key.values())), str(failure))
                self._unreadable[place.place, place.row] = place
                continue
            changes.append(key | {"fresh": fresh})
        if changes:
            connection = await session.connection()
            await connection.execute(_change(column), changes)
        return len(changes)


def _stale(column: SealedColumn, current: str, last: Sequence[Any] | None, most: int) -> Any:
    """Rows whose value is under another key than `current`, from behind the row `last`, locked for us."""
    table = column.of
    keys = list(table.primary_key)
    wanted = {key.name: key for key in [*keys, *table.c] if key in keys or f"{{{key.name}}}" in column.context}
    prefix = f"{current}.".encode()
    statement = (
        select(*wanted.values(), column.value.label("sealed_value"))
        .where(func.substring(column.value, 1, len(prefix)) != literal(prefix, LargeBinary()))
        .order_by(*keys)
        .limit(most)
        .with_for_update(key_share=True, skip_locked=True)
    )
    if last is not None:
        # Written out where the key is one column: an index is walked by it, which a row of one is not sure to be.
        behind = keys[0] > last[0] if len(keys) == 1 else tuple_(*keys) > tuple_(*map(_bound, keys, last))
        statement = statement.where(behind)
    return statement


def _bound(key: ColumnElement[Any], value: Any) -> ColumnElement[Any]:
    return literal(value, key.type)


def _change(column: SealedColumn) -> Any:
    table = column.of
    mine = [key == bindparam(f"this_{key.name}", type_=key.type) for key in table.primary_key]
    unchanged = {other.name: other for other in table.c if other.onupdate is not None}  # a sealing is no update to note
    fresh = column.holding(bindparam("fresh", type_=LargeBinary()))
    return update(table).where(*mine).values({**unchanged, column.column: fresh})


def _key_ids(column: SealedColumn) -> Any:
    """The bytes before the first dot."""
    dot = func.position(literal(b".", LargeBinary()).op("IN")(column.value), type_=Integer())
    key_id = func.encode(func.substring(column.value, 1, dot - 1), "escape")
    return select(key_id, func.count()).where(column.value.is_not(None)).group_by(key_id)
