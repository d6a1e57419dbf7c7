"""Key hints of licenses that were issued before hints existed: opens each key and writes its last four symbols.

It runs beside everything else, as a rotation of the key-encryption key does (workers/commands/resealing.py): rows are
walked by their primary key, some hundred at a time, and each batch is locked, written and committed before the next. A
run that is killed has done whole batches, and the next run goes on with what has no hint yet. Two runs share the work.

Rows that others have locked are left for the next walk. A key that cannot be opened is told, and the others go on.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import Row, bindparam, func, select, update

from core.crypto.sealing import CannotOpen, Sealer
from core.licensing import key as license_key
from core.parts import step
from db.models.all_tables import METADATA
from db.models.licensing import License
from db.sealed_columns import SEALED
from db.unit_of_work import Database, SystemTransaction

_AT_ONCE: Final = 500
_MOST_WALKS: Final = 5
_TABLE: Final = METADATA.tables["licenses"]
[_KEYS] = [column for column in SEALED if column.name == "licenses.license_key"]
_WRITE: Final = (
    update(_TABLE)
    .where(_TABLE.c.id == bindparam("this_id"))
    .values(key_hint=bindparam("hint"), updated_at=_TABLE.c.updated_at)  # a hint is no update to note
)

Progress = Callable[[int, int], None]
"""How many are done, of how many."""


class Filled(NamedTuple):
    """`done`: how many this run has written; `left`: how many have no hint; `unreadable`: why, by the license's id."""

    done: int
    left: int
    unreadable: Mapping[UUID, str]


class KeyHints:
    def __init__(self, database: Database, sealer: Sealer, *, at_once: int = _AT_ONCE) -> None:
        self._database = database
        self._sealer = sealer
        self._at_once = at_once
        self._unreadable: dict[UUID, str] = {}

    async def fill(self, progress: Progress = lambda _done, _of: None) -> Filled:
        done = 0
        for _ in range(_MOST_WALKS):
            left = await self.count()
            if left <= len(self._unreadable):
                break
            done += await self._walk(done, done + left, progress)
        return Filled(done, await self.count(), self._unreadable)

    async def count(self) -> int:
        """How many licenses have no hint."""
        async with self._database.as_system() as tx:
            statement = select(func.count()).select_from(License).where(License.key_hint.is_(None))
            return await tx.session.scalar(statement) or 0

    async def _walk(self, before: int, total: int, progress: Progress) -> int:
        """Once over all licenses, from the first to the last."""
        last: UUID | None = None
        done = 0
        while True:
            async with step(), self._database.as_system() as tx:
                rows = (await tx.session.execute(_without_hint(last, self._at_once))).all()
                done += await self._write(tx, rows)
            progress(before + done, total)
            if len(rows) < self._at_once:
                return done
            last = rows[-1].id

    async def _write(self, tx: SystemTransaction, rows: Sequence[Row[UUID, bytes]]) -> int:
        changes = []
        for license_id, sealed in rows:
            try:
                key = self._sealer.open(sealed, context=_KEYS.context_of({"id": license_id})).decode()
            except CannotOpen as failure:
                self._unreadable[license_id] = str(failure)
                continue
            changes.append({"this_id": license_id, "hint": license_key.hint(key)})
        if changes:
            await (await tx.session.connection()).execute(_WRITE, changes)
        return len(changes)


def _without_hint(last: UUID | None, most: int) -> Any:
    """From behind the license `last`, locked for us."""
    statement = (
        select(License.id, License.license_key)
        .where(License.key_hint.is_(None))
        .order_by(License.id)
        .limit(most)
        .with_for_update(key_share=True, skip_locked=True)
    )
    return statement if last is None else statement.where(License.id > last)
