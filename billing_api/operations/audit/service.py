"""Audit trail: admins search all of it, an owner reads the events of a license."""

from datetime import datetime
from uuid import UUID

from billing_api.access.permissions import Principal
from billing_api.licensing.licenses import repository as licenses
from billing_api.operations.audit import repository
from billing_api.operations.audit.schemas import AuditView, LicenseEventView
from billing_api.operations.audit.views import Named
from db.paging import Page, Paging, fetch_page
from db.unit_of_work import Database


class AuditTrail:
    def __init__(self, database: Database) -> None:
        self._database = database

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
        async with self._database.as_customer(principal.user_id) as tx:
            await licenses.one(tx, license_id)
            found = await fetch_page(tx.session, repository.events_of(license_id), repository.NEWEST_EVENTS, paging)
        return found.page(
            LicenseEventView(at=at, action=action, actor=actor, detail=detail)
            for _, at, action, actor, detail in found.rows
        )
