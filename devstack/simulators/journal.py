"""State that outlives `kill -9`: typed JSON documents in one SQLite file.

A simulator is killed on purpose and must come back knowing what it had said. A committed row is in the kernel's hands
(WAL, `synchronous=OFF`), which a killed process cannot take back; only a power cut could, and no devstack promises
anything about those. One connection, used by one thread: a simulator decides in its event loop and never awaits
between reading and writing, so that a transaction here is also what makes two requests take turns.
"""

import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Generic, Literal, NamedTuple, TypeVar

import msgspec

T = TypeVar("T")

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS documents (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    collection TEXT NOT NULL,
    id TEXT NOT NULL,
    body TEXT NOT NULL,
    UNIQUE (collection, id)
);
CREATE INDEX IF NOT EXISTS documents_in_order ON documents (collection, seq);
"""


class Where(NamedTuple):
    """One condition on a field of the document; `path` is SQLite's, such as `$.payment.type`."""

    path: str
    value: Any
    operator: Literal["=", "<>", ">", ">=", "<", "<=", "IS", "LIKE"] = "="

    def sql(self) -> str:
        return f" AND {_extract(self.path)} {self.operator} ?"


def _extract(path: str) -> str:
    """The path stands in the statement itself, because SQLite uses an index on an expression only where it sees it."""
    if not _PATH.fullmatch(path):
        raise ValueError(path)
    return f"json_extract(body, '{path}')"


_PATH: Final = re.compile(r"\$(\.\w+|\[\d+\])+")


class Journal:
    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA busy_timeout=2000;" + _SCHEMA)

    def collection(self, name: str, kind: type[T]) -> "Collection[T]":
        return Collection(self._db, name, kind)

    def index(self, path: str) -> None:
        """Make looking for documents by this field fast, in every collection."""
        name = re.sub(r"\W+", "_", path)
        self._db.execute(f"CREATE INDEX IF NOT EXISTS by{name} ON documents (collection, {_extract(path)})")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it or none; inside another one it is a savepoint, which can be undone alone."""
        inside = self._db.in_transaction
        begin, keep, undo = ("SAVEPOINT part", "RELEASE part", "ROLLBACK TO part") if inside else _WHOLE
        self._db.execute(begin)
        try:
            yield
        except BaseException:
            self._db.execute(undo)
            if inside:
                self._db.execute(keep)
            raise
        self._db.execute(keep)

    def close(self) -> None:
        self._db.close()


_WHOLE: Final = ("BEGIN IMMEDIATE", "COMMIT", "ROLLBACK")


class Collection(Generic[T]):
    """Documents of one type under their keys, remembered in the order of their first writing."""

    def __init__(self, db: sqlite3.Connection, name: str, kind: type[T]) -> None:
        self._db = db
        self._name = name
        self._encoder = msgspec.json.Encoder()
        self._decoder: msgspec.json.Decoder[T] = msgspec.json.Decoder(kind)

    def put(self, key: str, document: T) -> None:
        self._db.execute(
            "INSERT INTO documents (collection, id, body) VALUES (?, ?, ?)"
            " ON CONFLICT (collection, id) DO UPDATE SET body = excluded.body",
            (self._name, key, self._encoder.encode(document).decode()),
        )

    def get(self, key: str) -> T | None:
        row = self._db.execute("SELECT body FROM documents WHERE collection = ? AND id = ?", (self._name, key))
        found = row.fetchone()
        return self._decoder.decode(found[0]) if found else None

    def remove(self, key: str) -> None:
        self._db.execute("DELETE FROM documents WHERE collection = ? AND id = ?", (self._name, key))

    def clear(self) -> None:
        self._db.execute("DELETE FROM documents WHERE collection = ?", (self._name,))

    def all(self, *conditions: Where) -> list[T]:
        """Oldest first."""
        return self._select(conditions, "ORDER BY seq")

    def newest(
        self, *conditions: Where, older_than: str | None = None, newer_than: str | None = None, limit: int = -1
    ) -> list[T]:
        """Newest first. `newer_than` counts from that document onwards: the page that ends just before it."""
        if newer_than is not None:
            page = self._select(
                conditions, f"AND seq > ({_SEQ_OF}) ORDER BY seq LIMIT ?", (self._name, newer_than, limit)
            )
            return page[::-1]
        if older_than is not None:
            return self._select(
                conditions, f"AND seq < ({_SEQ_OF}) ORDER BY seq DESC LIMIT ?", (self._name, older_than, limit)
            )
        return self._select(conditions, "ORDER BY seq DESC LIMIT ?", (limit,))

    def _select(self, conditions: Sequence[Where], rest: str, values: Sequence[Any] = ()) -> list[T]:
        where = "".join(condition.sql() for condition in conditions)
        bound = [condition.value for condition in conditions]
        # Put into the text are operators of a closed set and paths that were checked; values are bound.
        statement = f"SELECT body FROM documents WHERE collection = ?{where} {rest}"  # noqa: S608  values are bound
        return [self._decoder.decode(row[0]) for row in self._db.execute(statement, (self._name, *bound, *values))]


_SEQ_OF: Final = "SELECT seq FROM documents WHERE collection = ? AND id = ?"
