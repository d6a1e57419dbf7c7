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


def _word(description: str) -> QueryParameter:
    return QueryParameter(max_length=200, pattern=STORABLE, description=description)


Action = Annotated[str | None, _word("What was done, such as `license.suspended_by_admin`.")]
TargetKind = Annotated[str | None, _word("The kind of object that was acted on, such as `license`.")]
TargetId = Annotated[str | None, _word("The id of the object that was acted on.")]


class AdminAuditController(Controller):
    path = "/admin/audit"
    tags = ("admin",)

    @get("/", permission=Permission.AUDIT_VIEW)
    async def search_audit_trail(
        self,
        principal: NamedDependency[Principal],
        audit_trail: NamedDependency[AuditTrail],
        paging: NamedDependency[Paging],
        actor_id: Annotated[UUID | None, QueryParameter(description="Who did it: the id of a user.")] = None,
        actor: Annotated[
            str | None,
            QueryParameter(
                max_length=254,
                pattern=STORABLE,
                description="Who did it: `system` for the application itself, or a user's e-mail address.",
            ),
        ] = None,
        action: Action = None,
        target_kind: TargetKind = None,
        target_id: TargetId = None,
        since: Annotated[str | None, QueryParameter(format="date-time", description="From this instant on.")] = None,
        until: Annotated[str | None, QueryParameter(format="date-time", description="Before this instant.")] = None,
    ) -> Page[AuditView]:
        """Search the audit trail.

        Every condition that is given must hold. The newest first. Entries never change; `make verify-audit` proves it.
        """
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

    @get("/", permission=Permission.OWN_ACCOUNT)
    async def list_license_events(
        self,
        principal: NamedDependency[Principal],
        audit_trail: NamedDependency[AuditTrail],
        paging: NamedDependency[Paging],
        license_id: FromPath[UUID],
    ) -> Page[LicenseEventView]:
        """List what was done to my license.

        The newest first: by its owner, by staff, or by the application.
        """
        return await audit_trail.license_events(principal, license_id, paging)
