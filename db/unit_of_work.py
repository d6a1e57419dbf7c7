"""Unit of work: one transaction, as one of three kinds of session.

    async with database.as_customer(user_id) as tx: ...   sees and writes that user's rows only
    async with database.as_staff(staff_id) as tx: ...     every row, no secrets of sign-in
    async with database.as_system() as tx: ...            the application on its own behalf

Whom the session speaks for is set with the transaction and ends with it (SET LOCAL), so a pooled connection carries no
rights into the next request. The database enforces it by row-level security (db/migrations/versions/0003_*.sql): a
query that forgets its WHERE returns no other customer's rows. The three types let a repository function say in its
signature which kind it needs.

Leaving the block commits; an exception rolls back. Nothing has happened until the block has been left. A task that is
cancelled while it leaves the block cannot tell whether it has committed (core/deadline.py).
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, cast
from uuid import UUID

import asyncpg  # type: ignore[import-untyped]  # ships no types
import structlog
from sqlalchemy import insert, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from core.deadline import in_doubt
from core.jobs import Job, lane, to_row
from db.availability import is_gone
from db.driver import Driver
from db.models.messaging import AuditRow, OutboxRow
from db.reads import Record, Statement, Values

_ROLE: Final = "SELECT set_config('role', :role, true), set_config('np.user_id', :user_id, true)"
_BY_INDEX: Final = "set_config('enable_seqscan', 'off', true)"
_BECOME: Final = text(_ROLE)
_BECOME_BY_INDEX: Final = text(f"{_ROLE}, {_BY_INDEX}")
_SPEAK_FOR: Final = text("SELECT set_config('np.user_id', :user_id, true)")


class Transaction:
    """What every kind of transaction offers: the session, the outbox, the audit trail."""

    def __init__(self, session: AsyncSession, actor_id: UUID | None, request_id: str | None) -> None:
        self.session = session
        self.actor_id = actor_id
        self._request_id = request_id

    async def driver(self) -> Driver:
        """Asyncpg's own connection, in this very transaction: for what runs hundreds of times a second.

        A statement costs a third of what it does through SQLAlchemy. Failures are asyncpg's own, too.
        """
        pooled = await (await self.session.connection()).get_raw_connection()
        return cast("Driver", pooled.driver_connection)

    async def run(self, statement: Statement, values: Values) -> list[Record]:
        """The rows of a statement that was compiled once, run by the driver in this very transaction.

        What the session has not flushed yet is not written before.
        """
        driver = await self.driver()
        return [Record(row) for row in await driver.fetch(statement.text, *statement.arguments(values))]

    async def audit(self, action: str, target_kind: str, target_id: UUID | str, **detail: Any) -> None:
        """Records a privileged act; commits with it or not at all."""
        row = {
            "actor_id": self.actor_id,
            "action": action,
            "target_kind": target_kind,
            "target_id": str(target_id),
            "detail": detail,
            "request_id": self._request_id or structlog.contextvars.get_contextvars().get("request_id"),
        }
        await self.session.execute(
            insert(AuditRow).values(row).inline()
        )  # the right to add a row is not the right to read it


class CustomerTransaction(Transaction):
    """Speaks for one customer."""


class PrivilegedTransaction(Transaction):
    """May write the outbox: what follows from a change is decided by staff or by the application."""

    async def enqueue(self, *jobs: Job) -> None:
        """Has the jobs performed after this transaction commits, at least once each."""
        rows = [{"lane": lane(job), "job": to_row(job)} for job in jobs]
        if rows:
            await self.session.execute(insert(OutboxRow), rows)


class StaffTransaction(PrivilegedTransaction):
    """Speaks for support or an admin."""


class SystemTransaction(PrivilegedTransaction):
    """The application itself: sign-in, webhooks, workers."""


class Database:
    """Opens transactions. One for each process, made where the process is wired."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine

    @asynccontextmanager
    async def as_customer(self, user_id: UUID, request_id: str | None = None) -> AsyncIterator[CustomerTransaction]:
        async with self._session() as session:
            await session.execute(_SPEAK_FOR, {"user_id": str(user_id)})
            yield CustomerTransaction(session, user_id, request_id)
            in_doubt()

    @asynccontextmanager
    async def as_staff(
        self, staff_id: UUID, request_id: str | None = None, *, by_index: bool = False
    ) -> AsyncIterator[StaffTransaction]:
        """`by_index`: as in `as_system`."""
        async with self._session() as session:
            become = _BECOME_BY_INDEX if by_index else _BECOME
            await session.execute(become, {"role": "np_staff", "user_id": str(staff_id)})
            yield StaffTransaction(session, staff_id, request_id)
            in_doubt()

    @asynccontextmanager
    async def as_system(
        self, actor_id: UUID | None = None, request_id: str | None = None, *, by_index: bool = False
    ) -> AsyncIterator[SystemTransaction]:
        """`actor_id`: the person on whose behalf the application acts, for the audit trail.

        `by_index`: rows are looked up by their keys, whatever the planner assumes of a table's size. It takes a table
        that was filled a minute ago for a small one; and it plans a frequent statement once for a connection.
        """
        async with self._session() as session:
            await session.execute(_BECOME_BY_INDEX if by_index else _BECOME, {"role": "np_system", "user_id": ""})
            yield SystemTransaction(session, actor_id, request_id)
            in_doubt()

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[AsyncSession]:
        async with AsyncSession(self.engine, expire_on_commit=False) as session, session.begin():
            try:
                yield session
            except (
                asyncpg.PostgresError
            ) as failure:  # raised by the driver itself; the engine handles all others (db/engine.py)
                if is_gone(failure):
                    await (await session.connection()).invalidate(failure)
                raise

    async def close(self) -> None:
        await self.engine.dispose()
