"""Reconciliation over HTTP, for staff."""

from uuid import UUID

from litestar import Controller, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from billing_api.access.permissions import Permission, Principal
from billing_api.operations.reconciliation.schemas import RunView, RunWithDifferences
from billing_api.operations.reconciliation.service import ReconciliationReports
from db.paging import Page, Paging


class AdminReconciliationController(Controller):
    path = "/admin/reconciliation"
    tags = ("admin",)

    @get("/", permission=Permission.OPERATIONS_VIEW)
    async def list_reconciliation_runs(
        self,
        principal: NamedDependency[Principal],
        reconciliation_reports: NamedDependency[ReconciliationReports],
        paging: NamedDependency[Paging],
    ) -> Page[RunView]:
        """List comparisons of Redis with PostgreSQL.

        The newest first.
        """
        return await reconciliation_reports.page(principal, paging)

    @get("/{run_id:uuid}", permission=Permission.OPERATIONS_VIEW)
    async def get_reconciliation_run(
        self,
        principal: NamedDependency[Principal],
        reconciliation_reports: NamedDependency[ReconciliationReports],
        paging: NamedDependency[Paging],
        run_id: FromPath[UUID],
    ) -> RunWithDifferences:
        """Read a comparison.

        With a page of the differences that it found; beyond 10,000 they are only counted.
        """
        return await reconciliation_reports.one(principal, run_id, paging)
