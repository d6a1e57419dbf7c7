"""Reconciliation reports: staff read runs and their differences."""

from uuid import UUID

from billing_api.access.permissions import Principal
from billing_api.operations.reconciliation import repository
from billing_api.operations.reconciliation.schemas import (
    DifferenceView,
    RunView,
    RunWithDifferences,
)
from db.paging import Page, fetch_page
from db.unit_of_work import Database


class ReconciliationReports:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, principal: Principal, *, limit: int, offset: int) -> Page[RunView]:
        async with self._database.as_staff(principal.user_id) as tx:
            rows, total = await fetch_page(tx.session, repository.newest_first(), limit=limit, offset=offset)
        return Page([RunView.of(row[0]) for row in rows], total, limit, offset)

    async def one(self, principal: Principal, run_id: UUID, *, limit: int, offset: int) -> RunWithDifferences:
        """The run, and a page of its differences in the order they were found."""
        async with self._database.as_staff(principal.user_id) as tx:
            run = await repository.one(tx, run_id)
            statement = repository.differences_of(run_id)
            rows, total = await fetch_page(tx.session, statement, limit=limit, offset=offset)
        found = Page([DifferenceView.of(row[0]) for row in rows], total, limit, offset)
        return RunWithDifferences(RunView.of(run), found)
