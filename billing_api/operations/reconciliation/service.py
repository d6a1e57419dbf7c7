"""Reconciliation reports: staff read runs and their differences."""

from uuid import UUID

from billing_api.access.permissions import Principal
from billing_api.operations.reconciliation import repository
from billing_api.operations.reconciliation.schemas import (
    DifferenceView,
    RunView,
    RunWithDifferences,
)
from db.paging import Page, Paging, fetch_page
from db.unit_of_work import Database


class ReconciliationReports:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, principal: Principal, paging: Paging) -> Page[RunView]:
        async with self._database.as_staff(principal.user_id) as tx:
            found = await fetch_page(tx.session, repository.runs(), repository.NEWEST_FIRST, paging)
        return found.page(RunView.of(row[0]) for row in found.rows)

    async def one(self, principal: Principal, run_id: UUID, paging: Paging) -> RunWithDifferences:
        """The run, and a page of its differences in the order they were found."""
        async with self._database.as_staff(principal.user_id) as tx:
            run = await repository.one(tx, run_id)
            statement = repository.differences_of(run_id)
            found = await fetch_page(tx.session, statement, repository.AS_FOUND, paging)
        differences = found.page(DifferenceView.of(row[0]) for row in found.rows)
        return RunWithDifferences(RunView.of(run), differences)
