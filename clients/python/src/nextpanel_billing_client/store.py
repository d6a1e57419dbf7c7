"""Durable state: the API key of an activation, reports on their way, leases, their public keys, the time.

One SQLite file, readable by its owner only, for it holds a secret, and reports carry license keys. Several processes
may share it. A report is on the disk before `add_report` returns (WAL with synchronous=FULL), and leaves with the
answer to it.
"""

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, Final, NamedTuple

from nextpanel_billing_client.answers import RefusedReport, StoreUnusable
from nextpanel_billing_client.one_process import OneProcess

CLAIM_SECONDS: Final = 30
"""For so long one process has the queue's head for itself. A report is taken from one that died with it."""
_CHANGED_WITHIN: Final = 10.0
"""Seconds that a change waits while another process writes."""
_READ_WITHIN: Final = 1.0

_TABLES: Final = (
    """CREATE TABLE IF NOT EXISTS reports (
        id INTEGER PRIMARY KEY AUTOINCREMENT, idempotency_key TEXT NOT NULL UNIQUE, body TEXT NOT NULL,
        claimed_at REAL NOT NULL DEFAULT 0, refused TEXT)""",
    "CREATE INDEX IF NOT EXISTS waiting ON reports (id) WHERE refused IS NULL",
    "CREATE TABLE IF NOT EXISTS leases (license TEXT PRIMARY KEY, token TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
)
# The head, up to what another process is at: reports of one license must arrive in the order they were made.
_TAKE: Final = """
    WITH head AS (SELECT id, claimed_at FROM reports WHERE refused IS NULL ORDER BY id LIMIT :most)
    UPDATE reports SET claimed_at = :now
    WHERE id IN (SELECT id FROM head) AND id < coalesce(
        (SELECT min(id) FROM head WHERE abs(:now - claimed_at) <= :claim), 9223372036854775807)
    RETURNING id, idempotency_key, body"""
_GIVE_BACK: Final = "UPDATE reports SET claimed_at = 0 WHERE id IN (SELECT value FROM json_each(?))"
_DELIVERED: Final = "DELETE FROM reports WHERE id IN (SELECT value FROM json_each(?))"
_REFUSE: Final = """
    UPDATE reports SET refused = told.value FROM json_each(?) AS told WHERE reports.id = CAST(told.key AS INTEGER)"""
_REMEMBER: Final = "INSERT INTO {} VALUES (?, ?) ON CONFLICT DO UPDATE SET {} = excluded.{}"


_WHAT_TO_DO: Final = {
    sqlite3.SQLITE_FULL: "make room on its disk",
    sqlite3.SQLITE_IOERR: "make room on its disk, or look for a fault of it",
    sqlite3.SQLITE_READONLY: "make the file and its folder writable for the user that runs this",
    sqlite3.SQLITE_CANTOPEN: "make the file and its folder writable for the user that runs this",
    sqlite3.SQLITE_PERM: "make the file and its folder writable for the user that runs this",
    sqlite3.SQLITE_BUSY: "another process is writing to it; try again",
    sqlite3.SQLITE_LOCKED: "another process is writing to it; try again",
    sqlite3.SQLITE_NOTADB: "move it away to begin a new one, then activate again and report every count with `set`",
    sqlite3.SQLITE_CORRUPT: "move it away to begin a new one, then activate again and report every count with `set`",
}
"""By SQLite's primary result code."""


class Report(NamedTuple):
    id: int
    idempotency_key: str
    body: str


class Store:
    """Blocks; callers on an event loop ask from a thread. Raises StoreUnusable where the file cannot be used.

    Questions have a connection of their own: they need no lock of the file, so that they are answered while a change
    waits for another process to let go of it.
    """

    def __init__(self, path: Path) -> None:
        """Makes file and folder where they are missing. Nothing stays open: a fork may follow."""
        self._path = path.absolute()
        self._process = OneProcess()
        self._opened: dict[float, sqlite3.Connection] = {}
        self._is_closed = False
        self._file: tuple[int, int] | None = None
        self._changing, self._asking = Lock(), Lock()
        with self._told():
            _make(self._path)
            with closing(_connected(self._path, timeout=_CHANGED_WITHIN)) as connection:
                for statement in ("PRAGMA journal_mode = WAL", *_TABLES):
                    connection.execute(statement).close()

    def close(self) -> None:
        """Waits for a change that is under way."""
        with self._changing, self._asking:
            self._is_closed = True
            while self._opened:
                self._opened.popitem()[1].close()

    def add_report(self, idempotency_key: str, body: str) -> None:
        """The same key again is the same report."""
        self._run("INSERT INTO reports (idempotency_key, body) VALUES (?, ?) ON CONFLICT DO NOTHING",
                  idempotency_key, body)  # fmt: skip

    def take_reports(self, now: float, most: int) -> list[Report]:
        """The oldest ones, in their order; none where there are none, or another process is at them."""
        return sorted(Report(*row) for row in self._run(_TAKE, {"now": now, "claim": CLAIM_SECONDS, "most": most}))

    def give_back(self, reports: Iterable[Report]) -> None:
        self._run(_GIVE_BACK, _ids(reports))

    def delivered(self, reports: Iterable[Report]) -> None:
        self._run(_DELIVERED, _ids(reports))

    def refuse(self, reasons: Mapping[Report, str]) -> None:
        """Out of the way of the others, and kept."""
        self._run(_REFUSE, json.dumps({report.id: reason for report, reason in reasons.items()}))

    def waiting(self) -> int:
        return int(self._ask("SELECT count(*) FROM reports WHERE refused IS NULL")[0][0])

    def refused(self) -> list[RefusedReport]:
        found = self._ask("SELECT idempotency_key, body, refused FROM reports WHERE refused IS NOT NULL ORDER BY id")
        return [RefusedReport(*row) for row in found]

    def forget_refused(self, idempotency_key: str) -> None:
        self._run("DELETE FROM reports WHERE idempotency_key = ? AND refused IS NOT NULL", idempotency_key)

    def retry_refused(self, idempotency_key: str) -> None:
        self._run("UPDATE reports SET refused = NULL, claimed_at = 0 WHERE idempotency_key = ?", idempotency_key)

    def lease(self, license_name: str) -> str | None:
        found = self._ask("SELECT token FROM leases WHERE license = ?", license_name)
        return str(found[0][0]) if found else None

    def keep_lease(self, license_name: str, token: str) -> None:
        self._run(_REMEMBER.format("leases", "token", "token"), license_name, token)

    def drop_lease(self, license_name: str) -> None:
        self._run("DELETE FROM leases WHERE license = ?", license_name)

    def fact(self, name: str) -> str | None:
        found = self._ask("SELECT value FROM facts WHERE name = ?", name)
        return str(found[0][0]) if found else None

    def keep_fact(self, name: str, value: str) -> None:
        self._run(_REMEMBER.format("facts", "value", "value"), name, value)

    def saw(self, now: float) -> None:
        """Moves the latest instant seen, forward only."""
        self._run(
            "INSERT INTO facts VALUES ('last_seen', :now) ON CONFLICT DO UPDATE SET value = excluded.value"
            " WHERE CAST(excluded.value AS REAL) > CAST(facts.value AS REAL)",
            {"now": str(now)},
        )

    def _run(self, statement: str, *values: Any) -> Sequence[Any]:
        bound = values[0] if values and isinstance(values[0], dict) else values
        with self._told(), self._changing, closing(self._open(_CHANGED_WITHIN).execute(statement, bound)) as cursor:
            return cursor.fetchall()

    def _ask(self, statement: str, *values: str) -> Sequence[Any]:
        with self._told(), self._asking, closing(self._open(_READ_WITHIN).execute(statement, values)) as cursor:
            return cursor.fetchall()

    def _open(self, timeout: float) -> sqlite3.Connection:
        """The connection whose statements wait for so many seconds; opened on its first use."""
        self._process.check()
        if self._is_closed:
            raise StoreUnusable("this client is closed: make another")
        if timeout not in self._opened:
            self._opened[timeout] = _connected(self._path, timeout=timeout)
        found = _identity(self._path)
        self._file = self._file or found
        if found is None or found != self._file:  # SQLite would go on writing to a file that nobody finds
            raise StoreUnusable(f"the store {self._path} was moved or deleted while in use: restart this program")
        return self._opened[timeout]

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as fault:
            raise StoreUnusable(f"the store {self._path} cannot be used: {_explained(fault)}") from fault


def _make(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file it is; None where there is none."""
    try:
        facts = path.stat()
    except FileNotFoundError:
        return None
    return facts.st_dev, facts.st_ino


def _connected(path: Path, *, timeout: float) -> sqlite3.Connection:
    """Of a file that is there: SQLite would make another for everybody to read."""
    address = f"{path.as_uri()}?mode=rw"
    connection = sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False, timeout=timeout)
    connection.execute("PRAGMA synchronous = FULL").close()
    return connection


def _explained(fault: sqlite3.Error | OSError) -> str:
    """What is wrong, then what to do. SQLite's texts name tables, never what is in them."""
    if isinstance(fault, OSError):
        return f"{fault.strerror}; make its folder for the user that runs this, or name another file"
    code = getattr(fault, "sqlite_errorcode", 0) & 0xFF
    return f"{fault}; {_WHAT_TO_DO.get(code, 'see whether another program uses this file')}"


def _ids(reports: Iterable[Report]) -> str:
    return json.dumps([report.id for report in reports])
