"""What must outlive this process: reports on their way, leases, the keys to check them, the latest instant seen.

One SQLite file, readable by its owner only, for reports carry license keys. Several processes may share it. A report is
on the disk before `add_report` returns (WAL with synchronous=FULL), and leaves with the answer to it.
"""

import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from threading import Lock
from typing import Any, Final, NamedTuple

from nextpanel_billing_client.answers import RefusedReport

CLAIM_SECONDS: Final = 30
"""For so long one process has the queue's head for itself. A report is taken from one that died with it."""

_TABLES: Final = (
    """CREATE TABLE IF NOT EXISTS reports (
        id INTEGER PRIMARY KEY AUTOINCREMENT, idempotency_key TEXT NOT NULL UNIQUE, body TEXT NOT NULL,
        claimed_at REAL NOT NULL DEFAULT 0, refused TEXT)""",
    "CREATE INDEX IF NOT EXISTS waiting ON reports (id) WHERE refused IS NULL",
    "CREATE TABLE IF NOT EXISTS leases (license TEXT PRIMARY KEY, token TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
)
# The head only: reports of one resource must arrive in the order they were made, a `set` among them.
_TAKE: Final = """
    UPDATE reports SET claimed_at = :now
    WHERE id = (SELECT min(id) FROM reports WHERE refused IS NULL) AND abs(:now - claimed_at) > :claim
    RETURNING id, idempotency_key, body"""
_REMEMBER: Final = "INSERT INTO {} VALUES (?, ?) ON CONFLICT DO UPDATE SET {} = excluded.{}"


class Report(NamedTuple):
    id: int
    idempotency_key: str
    body: str


class Store:
    """Blocks; callers on an event loop ask from a thread."""

    def __init__(self, path: Path) -> None:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._lock = Lock()
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
        for statement in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", *_TABLES):
            self._run(statement)

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def add_report(self, idempotency_key: str, body: str) -> None:
        """The same key again is the same report."""
        self._run("INSERT INTO reports (idempotency_key, body) VALUES (?, ?) ON CONFLICT DO NOTHING",
                  idempotency_key, body)  # fmt: skip

    def take_report(self, now: float) -> Report | None:
        """The oldest one; None where there is none, or another process is at it."""
        taken = self._run(_TAKE, {"now": now, "claim": CLAIM_SECONDS})
        return Report(*taken[0]) if taken else None

    def give_back(self, report: Report) -> None:
        self._run("UPDATE reports SET claimed_at = 0 WHERE id = ?", report.id)

    def delivered(self, report: Report) -> None:
        self._run("DELETE FROM reports WHERE id = ?", report.id)

    def refuse(self, report: Report, reason: str) -> None:
        """Out of the way of the others, and kept."""
        self._run("UPDATE reports SET refused = ? WHERE id = ?", reason, report.id)

    def waiting(self) -> int:
        return int(self._run("SELECT count(*) FROM reports WHERE refused IS NULL")[0][0])

    def refused(self) -> list[RefusedReport]:
        found = self._run("SELECT idempotency_key, body, refused FROM reports WHERE refused IS NOT NULL ORDER BY id")
        return [RefusedReport(*row) for row in found]

    def forget_refused(self, idempotency_key: str) -> None:
        self._run("DELETE FROM reports WHERE idempotency_key = ? AND refused IS NOT NULL", idempotency_key)

    def retry_refused(self, idempotency_key: str) -> None:
        self._run("UPDATE reports SET refused = NULL, claimed_at = 0 WHERE idempotency_key = ?", idempotency_key)

    def lease(self, license_name: str) -> str | None:
        found = self._run("SELECT token FROM leases WHERE license = ?", license_name)
        return str(found[0][0]) if found else None

    def keep_lease(self, license_name: str, token: str) -> None:
        self._run(_REMEMBER.format("leases", "token", "token"), license_name, token)

    def drop_lease(self, license_name: str) -> None:
        self._run("DELETE FROM leases WHERE license = ?", license_name)

    def fact(self, name: str) -> str | None:
        found = self._run("SELECT value FROM facts WHERE name = ?", name)
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
        with self._lock, closing(self._connection.execute(statement, bound)) as cursor:
            return cursor.fetchall()
