"""Durable state: reports on their way, leases, the keys to check them, the latest instant seen.

One SQLite file, readable by its owner only, for reports carry license keys. Several processes may share it. A report is
on the disk before `add_report` returns (WAL with synchronous=FULL), and leaves with the answer to it.
"""

import json
import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from threading import Lock
from typing import Any, Final, NamedTuple

from nextpanel_billing_client.answers import RefusedReport

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


class Report(NamedTuple):
    id: int
    idempotency_key: str
    body: str


class Store:
    """Blocks; callers on an event loop ask from a thread.

    Questions have a connection of their own: they need no lock of the file, so that they are answered while a change
    waits for another process to let go of it.
    """

    def __init__(self, path: Path) -> None:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._changes = _connected(path, timeout=_CHANGED_WITHIN)
        self._questions = _connected(path, timeout=_READ_WITHIN)
        self._changing, self._asking = Lock(), Lock()
        for statement in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", *_TABLES):
            self._run(statement)

    def close(self) -> None:
        """Waits for a change that is under way."""
        with self._changing:
            self._changes.close()
        with self._asking:
            self._questions.close()

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
        with self._changing, closing(self._changes.execute(statement, bound)) as cursor:
            return cursor.fetchall()

    def _ask(self, statement: str, *values: str) -> Sequence[Any]:
        with self._asking, closing(self._questions.execute(statement, values)) as cursor:
            return cursor.fetchall()


def _connected(path: Path, *, timeout: float) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=timeout)


def _ids(reports: Iterable[Report]) -> str:
    return json.dumps([report.id for report in reports])
