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

    @get("/", permission=Permission.OPERATIONS_VIEW, summary="Comparisons of Redis with Postgres, newest first")
    async def list_reconciliation_runs(
        self,
        principal: NamedDependency[Principal],
        reconciliation_reports: NamedDependency[ReconciliationReports],
        paging: NamedDependency[Paging],
    ) -> Page[RunView]:
        return await reconciliation_reports.page(principal, paging)

    @get("/{run_id:uuid}", permission=Permission.OPERATIONS_VIEW, summary="One comparison, and what it found")
    async def get_reconciliation_run(
        self,
        principal: NamedDependency[Principal],
        reconciliation_reports: NamedDependency[ReconciliationReports],
        paging: NamedDependency[Paging],
        run_id: FromPath[UUID],
    ) -> RunWithDifferences:
        return await reconciliation_reports.one(principal, run_id, paging)
