"""The audit trail over HTTP."""

from typing import Annotated
from uuid import UUID

from litestar import Controller, get
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from billing_api.access.permissions import Permission, Principal
from billing_api.operations.audit.schemas import AuditView, LicenseEventView
from billing_api.operations.audit.service import AuditTrail
from billing_api.web.parameters import (
    STORABLE,
    instant,
)
from db.paging import Page, Paging

Word = Annotated[str | None, QueryParameter(max_length=200, pattern=STORABLE)]


class AdminAuditController(Controller):
    path = "/admin/audit"
    tags = ("admin",)

    @get("/", permission=Permission.AUDIT_VIEW, summary="Search the audit trail; every given condition must hold")
    async def search_audit_trail(
        self,
        principal: NamedDependency[Principal],
        audit_trail: NamedDependency[AuditTrail],
        paging: NamedDependency[Paging],
        actor_id: Annotated[UUID | None, QueryParameter(description="who did it, by id")] = None,
        actor: Annotated[
            str | None,
            QueryParameter(
                max_length=254,
                pattern=STORABLE,
                description="who did it: `system` for the application itself, or a user's e-mail address",
            ),
        ] = None,
        action: Word = None,
        target_kind: Word = None,
        target_id: Word = None,
        since: Annotated[str | None, QueryParameter(format="date-time", description="from this instant on")] = None,
        until: Annotated[str | None, QueryParameter(format="date-time", description="before this instant")] = None,
    ) -> Page[AuditView]:
        return await audit_trail.search(
            principal,
            paging,
            actor_id=actor_id,
            actor=actor,
            action=action,
            target_kind=target_kind,
            target_id=target_id,
            since=instant(since, "since"),
            until=instant(until, "until"),
        )


class LicenseEventController(Controller):
    path = "/licenses/{license_id:uuid}/events"
    tags = ("licenses",)

    @get("/", permission=Permission.OWN_ACCOUNT, summary="What was done to my license, and by whom")
    async def list_license_events(
        self,
        principal: NamedDependency[Principal],
        audit_trail: NamedDependency[AuditTrail],
        paging: NamedDependency[Paging],
        license_id: FromPath[UUID],
    ) -> Page[LicenseEventView]:
        return await audit_trail.license_events(principal, license_id, paging)
