"""Audit trail: admins search all of it, an owner reads the events of a license."""

from datetime import datetime
from uuid import UUID

from billing_api.access.permissions import Principal
from billing_api.licensing.licenses import own_repository as own_licenses
from billing_api.operations.audit import repository
from billing_api.operations.audit.schemas import AuditView, LicenseEventView
from billing_api.operations.audit.views import Named
from db.paging import Page, Paging, fetch_page
from db.reads import CustomerReads
from db.unit_of_work import Database


class AuditTrail:
    def __init__(self, database: Database, reads: CustomerReads) -> None:
        self._database = database
        self._reads = reads

    async def search(
        self,
        principal: Principal,
        paging: Paging,
        *,
        actor_id: UUID | None,
        actor: str | None,
        action: str | None,
        target_kind: str | None,
        target_id: str | None,
        since: datetime | None,
        until: datetime | None,
    ) -> Page[AuditView]:
        statement = repository.search(
            actor_id=actor_id,
            actor=actor,
            action=action,
            target_kind=target_kind,
            target_id=target_id,
            since=since,
            until=until,
        )
        async with self._database.as_staff(principal.user_id) as tx:
            found = await fetch_page(tx.session, statement, repository.NEWEST_FIRST, paging)
        return found.page(AuditView.of(Named.of(*row)) for row in found.rows)

    async def license_events(self, principal: Principal, license_id: UUID, paging: Paging) -> Page[LicenseEventView]:
        ids = {"license_id": license_id}
        found = await repository.EVENTS.page(self._reads, principal.user_id, paging, values=ids)
        if not found.total:
            await own_licenses.require(self._reads, principal.user_id, license_id)
        return found.page(
            LicenseEventView(at=row.at, action=row.action, actor=row.actor, detail=row.detail) for row in found.rows
        )
