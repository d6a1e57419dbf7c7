"""License routes: for the owner, and for staff."""

from uuid import UUID

from litestar import Controller, MediaType, Response, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody

from billing_api.access.permissions import Permission, Principal
from billing_api.licensing.licenses import key_page
from billing_api.licensing.licenses.schemas import (
    AdminLicenseView,
    ChangeLicense,
    ExtendLicense,
    IssuedLicense,
    IssueLicense,
    KeyGiven,
    LabelGiven,
    LicenseView,
    LimitsGiven,
    RevealedKey,
    UsageView,
)
from billing_api.licensing.licenses.service import LicenseAdministration, LicenseService
from billing_api.web import link_page
from billing_api.web.parameters import (
    ReasonGiven,
    reply,
)
from core.licensing.state import Status
from db.idempotency import Once
from db.models.licensing import ProvisioningState
from db.paging import Page, Paging


@get(key_page.PATH, permission=Permission.PUBLIC, media_type=MediaType.HTML, include_in_schema=False)
async def show_key_page(license_id: FromPath[UUID]) -> Response[str]:
    """Where the mail "your license is ready" leads without a portal. Whether there is such a license is not told."""
    return link_page.reply(key_page.page(license_id))


class LicenseController(Controller):
    path = "/licenses"
    tags = ("licenses",)

    @get("/", permission=Permission.OWN_LICENSES_READ, summary="My licenses")
    async def list_licenses(
        self,
        principal: NamedDependency[Principal],
        licenses: NamedDependency[LicenseService],
        paging: NamedDependency[Paging],
        status: FromQuery[Status | None] = None,
    ) -> Page[LicenseView]:
        return await licenses.page(principal, paging, status=status)

    @get("/{license_id:uuid}", permission=Permission.OWN_LICENSES_READ, summary="One of my licenses")
    async def get_license(
        self,
        principal: NamedDependency[Principal],
        licenses: NamedDependency[LicenseService],
        license_id: FromPath[UUID],
    ) -> LicenseView:
        return await licenses.one(principal, license_id)

    @patch("/{license_id:uuid}", permission=Permission.OWN_ACCOUNT, summary="Name one of my licenses")
    async def label_license(
        self,
        principal: NamedDependency[Principal],
        licenses: NamedDependency[LicenseService],
        license_id: FromPath[UUID],
        data: JSONBody[LabelGiven],
    ) -> LicenseView:
        """The label is for people: its owner and staff are shown it, and nothing depends on it.

        It is stored in Unicode's NFC, without white space around it. `null` removes it.
        """
        return await licenses.set_label(principal, license_id, data)

    @post(
        "/{license_id:uuid}/reveal-key",
        permission=Permission.OWN_CREDENTIALS,
        step_up=True,
        status_code=200,
        summary="Show the key in plain text; only within 5 minutes of a login",
    )
    async def reveal_license_key(
        self,
        principal: NamedDependency[Principal],
        licenses: NamedDependency[LicenseService],
        license_id: FromPath[UUID],
    ) -> Response[RevealedKey]:
        revealed = await licenses.reveal_key(principal, license_id)
        return Response(revealed, headers={"Cache-Control": "no-store"})

    @post(
        "/{license_id:uuid}/rotate-key",
        permission=Permission.OWN_CREDENTIALS,
        step_up=True,
        status_code=200,
        summary="Replace the key of this license; the present one ends",
    )
    async def rotate_license_key(
        self,
        principal: NamedDependency[Principal],
        licenses: NamedDependency[LicenseService],
        once: NamedDependency[Once],
        license_id: FromPath[UUID],
    ) -> Response[RevealedKey]:
        return reply(await licenses.rotate_key(principal, license_id, once), status_code=200)

    @get("/{license_id:uuid}/usage", permission=Permission.OWN_USAGE_READ, summary="Usage of my license")
    async def get_license_usage(
        self,
        principal: NamedDependency[Principal],
        licenses: NamedDependency[LicenseService],
        license_id: FromPath[UUID],
    ) -> UsageView:
        return await licenses.usage(principal, license_id)


class AdminLicenseController(Controller):
    path = "/admin/licenses"
    tags = ("admin",)

    @get("/", permission=Permission.LICENSES_VIEW, summary="Search by e-mail, status, stuck provisioning or overage")
    async def search_licenses(
        self,
        principal: NamedDependency[Principal],
        license_administration: NamedDependency[LicenseAdministration],
        paging: NamedDependency[Paging],
        email: FromQuery[str | None] = None,
        status: FromQuery[Status | None] = None,
        provisioning: FromQuery[ProvisioningState | None] = None,
        overage: FromQuery[bool | None] = None,
    ) -> Page[AdminLicenseView]:
        return await license_administration.search(
            principal,
            paging,
            email=email,
            status=status,
            provisioning=provisioning,
            overage=overage,
        )

    @get("/{license_id:uuid}", permission=Permission.LICENSES_VIEW, summary="Any customer's license")
    async def get_any_license(
        self,
        principal: NamedDependency[Principal],
        license_administration: NamedDependency[LicenseAdministration],
        license_id: FromPath[UUID],
    ) -> AdminLicenseView:
        return await license_administration.one(principal, license_id)

    @patch(
        "/{license_id:uuid}",
        permission=Permission.LICENSES_CHANGE,
        summary="Set whether panels must send their fingerprint; absent fields stay as they are",
    )
    async def change_license(
        self,
        principal: NamedDependency[Principal],
        license_administration: NamedDependency[LicenseAdministration],
        license_id: FromPath[UUID],
        data: JSONBody[ChangeLicense],
    ) -> AdminLicenseView:
        return await license_administration.change(principal, license_id, data)

    @get("/{license_id:uuid}/usage", permission=Permission.LICENSES_VIEW, summary="Usage of any license")
    async def get_any_license_usage(
        self,
        principal: NamedDependency[Principal],
        license_administration: NamedDependency[LicenseAdministration],
        license_id: FromPath[UUID],
    ) -> UsageView:
        return await license_administration.usage(principal, license_id)

    @post(
        "/{license_id:uuid}/limits",
        permission=Permission.LICENSES_CHANGE,
        status_code=200,
        summary="Set limits of this license; null is unlimited, absent limits stay as they are",
    )
    async def set_limits(
        self,
        principal: NamedDependency[Principal],
        license_administration: NamedDependency[LicenseAdministration],
        license_id: FromPath[UUID],
        data: JSONBody[LimitsGiven],
    ) -> AdminLicenseView:
        return await license_administration.set_limits(principal, license_id, data)

    @post("/find-by-key", permission=Permission.LICENSES_VIEW, status_code=200, summary="Find a license by its key")
    async def find_license_by_key(
        self,
        principal: NamedDependency[Principal],
        license_administration: NamedDependency[LicenseAdministration],
        data: JSONBody[KeyGiven],
    ) -> AdminLicenseView:
        return await license_administration.find_by_key(principal, data.license_key)

    @post("/", permission=Permission.LICENSES_CHANGE, summary="Issue a license; its key is shown only now")
    async def issue_license(
        self,
        principal: NamedDependency[Principal],
        license_administration: NamedDependency[LicenseAdministration],
        once: NamedDependency[Once],
        data: JSONBody[IssueLicense],
    ) -> Response[IssuedLicense]:
        return reply(await license_administration.issue(principal, data, once), status_code=201)

    @post("/{license_id:uuid}/suspend", permission=Permission.LICENSES_CHANGE, status_code=200)
    async def suspend_license(
        self,
        principal: NamedDependency[Principal],
        license_administration: NamedDependency[LicenseAdministration],
        license_id: FromPath[UUID],
        data: JSONBody[ReasonGiven],
    ) -> AdminLicenseView:
        return await license_administration.suspend(principal, license_id, data.said)

    @post("/{license_id:uuid}/resume", permission=Permission.LICENSES_CHANGE, status_code=200)
    async def resume_license(
        self,
        principal: NamedDependency[Principal],
        license_administration: NamedDependency[LicenseAdministration],
        license_id: FromPath[UUID],
        data: JSONBody[ReasonGiven],
    ) -> AdminLicenseView:
        return await license_administration.resume(principal, license_id, data.said)

    @post(
        "/{license_id:uuid}/extend",
        permission=Permission.LICENSES_CHANGE,
        status_code=200,
        summary="Set a later end; renewal and cancellation of the subscription keep it",
    )
    async def extend_license(
        self,
        principal: NamedDependency[Principal],
        license_administration: NamedDependency[LicenseAdministration],
        once: NamedDependency[Once],
        license_id: FromPath[UUID],
        data: JSONBody[ExtendLicense],
    ) -> Response[AdminLicenseView]:
        return reply(await license_administration.extend(principal, license_id, data, once), status_code=200)

    @post(
        "/{license_id:uuid}/retry-provisioning",
        permission=Permission.LICENSES_CHANGE,
        status_code=200,
        summary="Retry an account that NextPanel refused",
    )
    async def retry_provisioning(
        self,
        principal: NamedDependency[Principal],
        license_administration: NamedDependency[LicenseAdministration],
        license_id: FromPath[UUID],
    ) -> AdminLicenseView:
        return await license_administration.retry_provisioning(principal, license_id)
