"""License routes, for staff."""

from typing import Annotated
from uuid import UUID

from litestar import Controller, Response, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from billing_api.access.permissions import Permission, Principal
from billing_api.licensing.licenses.admin_schemas import (
    ChangeLicense,
    ExtendLicense,
    IssuedLicense,
    IssueLicense,
    KeyGiven,
    LimitsGiven,
)
from billing_api.licensing.licenses.controller import InState
from billing_api.licensing.licenses.schemas import AdminLicenseView, UsageView
from billing_api.licensing.licenses.service import LicenseAdministration
from billing_api.web.parameters import (
    ReasonGiven,
    reply,
)
from billing_api.web.problems import documented
from core.errors import Conflict, IllegalMove
from db.idempotency import Once
from db.models.licensing import ProvisioningState
from db.paging import Page, Paging


class AdminLicenseController(Controller):
    path = "/admin/licenses"
    tags = ("admin",)

    @get("/", permission=Permission.LICENSES_VIEW)
    async def search_licenses(
        self,
        principal: NamedDependency[Principal],
        license_administration: NamedDependency[LicenseAdministration],
        paging: NamedDependency[Paging],
        email: Annotated[str | None, QueryParameter(description="Licenses of the account with this address.")] = None,
        status: InState = None,
        provisioning: Annotated[
            ProvisioningState | None,
            QueryParameter(description="Licenses whose account on NextPanel is in this state."),
        ] = None,
        overage: Annotated[
            bool | None,
            QueryParameter(description="True: licenses whose usage exceeds a limit, or had to be corrected lately."),
        ] = None,
    ) -> Page[AdminLicenseView]:
        """Search licenses.

        Every condition that is given must hold. The newest first.
        """
        return await license_administration.search(
            principal,
            paging,
            email=email,
            status=status,
            provisioning=provisioning,
            overage=overage,
        )

    @get("/{license_id:uuid}", permission=Permission.LICENSES_VIEW)
    async def get_any_license(
        self,
        principal: NamedDependency[Principal],
        license_administration: NamedDependency[LicenseAdministration],
        license_id: FromPath[UUID],
    ) -> AdminLicenseView:
        """Read any customer's license.

        With its owner, overrides, and the error of its account.
        """
        return await license_administration.one(principal, license_id)

    @patch(
        "/{license_id:uuid}",
        permission=Permission.LICENSES_CHANGE,
    )
    async def change_license(
        self,
        principal: NamedDependency[Principal],
        license_administration: NamedDependency[LicenseAdministration],
        license_id: FromPath[UUID],
        data: JSONBody[ChangeLicense],
    ) -> AdminLicenseView:
        """Change the settings of a license.

        Whether panels must send their fingerprint. Absent fields stay as they are.
        """
        return await license_administration.change(principal, license_id, data)

    @get("/{license_id:uuid}/usage", permission=Permission.LICENSES_VIEW)
    async def get_any_license_usage(
        self,
        principal: NamedDependency[Principal],
        license_administration: NamedDependency[LicenseAdministration],
        license_id: FromPath[UUID],
    ) -> UsageView:
        """Read the use of any license.

        For each resource: how much is used, reserved and allowed now.
        """
        return await license_administration.usage(principal, license_id)

    @post(
        "/{license_id:uuid}/limits",
        permission=Permission.LICENSES_CHANGE,
        status_code=200,
    )
    async def set_limits(
        self,
        principal: NamedDependency[Principal],
        license_administration: NamedDependency[LicenseAdministration],
        license_id: FromPath[UUID],
        data: JSONBody[LimitsGiven],
    ) -> AdminLicenseView:
        """Set limits of one license.

        They hold on every plan, in place of the plan's; null is unlimited, absent limits stay as they are. The plan's
        own limit removes the override. A limit may be below present usage: nothing is deleted, but nothing more can be
        created.
        """
        return await license_administration.set_limits(principal, license_id, data)

    @post("/find-by-key", permission=Permission.LICENSES_VIEW, status_code=200)
    async def find_license_by_key(
        self,
        principal: NamedDependency[Principal],
        license_administration: NamedDependency[LicenseAdministration],
        data: JSONBody[KeyGiven],
    ) -> AdminLicenseView:
        """Find a license by its key.

        The key is in the body, so that it appears in no log.
        """
        return await license_administration.find_by_key(principal, data.license_key)

    @post("/", permission=Permission.LICENSES_CHANGE)
    async def issue_license(
        self,
        principal: NamedDependency[Principal],
        license_administration: NamedDependency[LicenseAdministration],
        once: NamedDependency[Once],
        data: JSONBody[IssueLicense],
    ) -> Response[IssuedLicense]:
        """Issue a license without a payment.

        For an account that exists. The key is shown only now.
        """
        return reply(await license_administration.issue(principal, data, once), status_code=201)

    @post(
        "/{license_id:uuid}/suspend",
        permission=Permission.LICENSES_CHANGE,
        status_code=200,
        responses={409: documented(IllegalMove, Conflict)},
    )
    async def suspend_license(
        self,
        principal: NamedDependency[Principal],
        license_administration: NamedDependency[LicenseAdministration],
        license_id: FromPath[UUID],
        data: JSONBody[ReasonGiven],
    ) -> AdminLicenseView:
        """Suspend a license.

        Panels are refused within a quarter of a second. Its account on NextPanel is suspended too.
        """
        return await license_administration.suspend(principal, license_id, data.said)

    @post(
        "/{license_id:uuid}/resume",
        permission=Permission.LICENSES_CHANGE,
        status_code=200,
        responses={409: documented(IllegalMove, Conflict)},
    )
    async def resume_license(
        self,
        principal: NamedDependency[Principal],
        license_administration: NamedDependency[LicenseAdministration],
        license_id: FromPath[UUID],
        data: JSONBody[ReasonGiven],
    ) -> AdminLicenseView:
        """Resume a suspended license.

        Panels are served again, as far as its term has not ended.
        """
        return await license_administration.resume(principal, license_id, data.said)

    @post(
        "/{license_id:uuid}/extend",
        permission=Permission.LICENSES_CHANGE,
        status_code=200,
        responses={409: documented(IllegalMove, Conflict)},
    )
    async def extend_license(
        self,
        principal: NamedDependency[Principal],
        license_administration: NamedDependency[LicenseAdministration],
        once: NamedDependency[Once],
        license_id: FromPath[UUID],
        data: JSONBody[ExtendLicense],
    ) -> Response[AdminLicenseView]:
        """Set a later end of a license.

        Renewal and cancellation of the subscription never end it sooner.
        """
        return reply(await license_administration.extend(principal, license_id, data, once), status_code=200)

    @post(
        "/{license_id:uuid}/retry-provisioning",
        permission=Permission.LICENSES_CHANGE,
        status_code=200,
    )
    async def retry_provisioning(
        self,
        principal: NamedDependency[Principal],
        license_administration: NamedDependency[LicenseAdministration],
        license_id: FromPath[UUID],
    ) -> AdminLicenseView:
        """Try the account on NextPanel again.

        For a license whose account NextPanel refused.
        """
        return await license_administration.retry_provisioning(principal, license_id)
