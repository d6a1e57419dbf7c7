"""License routes, for the owner of a license."""

from typing import Annotated
from uuid import UUID

from litestar import Controller, MediaType, Response, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from billing_api.access.permissions import Permission, Principal
from billing_api.licensing.licenses import key_page
from billing_api.licensing.licenses.schemas import (
    LabelGiven,
    LicenseView,
    RevealedKey,
    UsageView,
)
from billing_api.licensing.licenses.service import LicenseService
from billing_api.web import link_page
from billing_api.web.parameters import (
    reply,
)
from core.licensing.state import Status
from db.idempotency import Once
from db.paging import Page, Paging

InState = Annotated[Status | None, QueryParameter(description="Licenses in this state now.")]


@get(key_page.PATH, permission=Permission.PUBLIC, media_type=MediaType.HTML, include_in_schema=False)
async def show_key_page(license_id: FromPath[UUID]) -> Response[str]:
    """Where the mail "your license is ready" leads without a portal. Whether there is such a license is not told."""
    return link_page.reply(key_page.page(license_id))


class LicenseController(Controller):
    path = "/licenses"
    tags = ("licenses",)

    @get("/", permission=Permission.OWN_LICENSES_READ)
    async def list_licenses(
        self,
        principal: NamedDependency[Principal],
        licenses: NamedDependency[LicenseService],
        paging: NamedDependency[Paging],
        status: InState = None,
    ) -> Page[LicenseView]:
        """List my licenses.

        The newest first. The key is not shown here: see `reveal-key`.
        """
        return await licenses.page(principal, paging, status=status)

    @get("/{license_id:uuid}", permission=Permission.OWN_LICENSES_READ)
    async def get_license(
        self,
        principal: NamedDependency[Principal],
        licenses: NamedDependency[LicenseService],
        license_id: FromPath[UUID],
    ) -> LicenseView:
        """Read one of my licenses.

        Its plan, state, limits and account on NextPanel.
        """
        return await licenses.one(principal, license_id)

    @patch("/{license_id:uuid}", permission=Permission.OWN_ACCOUNT)
    async def label_license(
        self,
        principal: NamedDependency[Principal],
        licenses: NamedDependency[LicenseService],
        license_id: FromPath[UUID],
        data: JSONBody[LabelGiven],
    ) -> LicenseView:
        """Name one of my licenses.

        The label is for people: its owner and staff are shown it, and nothing depends on it. It is stored in Unicode's
        NFC, without white space around it. `null` removes it.
        """
        return await licenses.set_label(principal, license_id, data)

    @post(
        "/{license_id:uuid}/reveal-key",
        permission=Permission.OWN_CREDENTIALS,
        step_up=True,
        status_code=200,
    )
    async def reveal_license_key(
        self,
        principal: NamedDependency[Principal],
        licenses: NamedDependency[LicenseService],
        license_id: FromPath[UUID],
    ) -> Response[RevealedKey]:
        """Show the license key in plain text.

        It is stored encrypted, and each look is recorded in the audit trail.
        """
        revealed = await licenses.reveal_key(principal, license_id)
        return Response(revealed, headers={"Cache-Control": "no-store"})

    @post(
        "/{license_id:uuid}/rotate-key",
        permission=Permission.OWN_CREDENTIALS,
        step_up=True,
        status_code=200,
    )
    async def rotate_license_key(
        self,
        principal: NamedDependency[Principal],
        licenses: NamedDependency[LicenseService],
        once: NamedDependency[Once],
        license_id: FromPath[UUID],
    ) -> Response[RevealedKey]:
        """Replace the license key.

        The present key is refused at once, everywhere; panels need the new one. API keys stay. The new key is shown in
        the answer.
        """
        return reply(await licenses.rotate_key(principal, license_id, once), status_code=200)

    @get("/{license_id:uuid}/usage", permission=Permission.OWN_USAGE_READ)
    async def get_license_usage(
        self,
        principal: NamedDependency[Principal],
        licenses: NamedDependency[LicenseService],
        license_id: FromPath[UUID],
    ) -> UsageView:
        """Read the use of my license.

        For each resource: how much is used, reserved and allowed now.
        """
        return await licenses.usage(principal, license_id)
