"""Activation routes: for the license's owner, for the panel, for staff."""

from typing import Any
from uuid import UUID

from litestar import Controller, Request, Response, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from billing_api.access.permissions import Permission, Principal
from billing_api.licensing.activation.schemas import (
    Activate,
    Activated,
    NewActivationToken,
)
from billing_api.licensing.activation.service import (
    ActivationAdministration,
    ActivationRequest,
    ActivationService,
)
from billing_api.licensing.licenses.schemas import AdminLicenseView, LicenseView
from billing_api.web.parameters import ReasonGiven, reply
from db.idempotency import Once


class LicenseActivationController(Controller):
    path = "/licenses/{license_id:uuid}"
    tags = ("licenses",)

    @post(
        "/activation-tokens",
        permission=Permission.OWN_CREDENTIALS,
        summary="Create a token for one panel, shown only now and valid for 24 hours; a sixth token ends the oldest",
    )
    async def create_activation_token(
        self,
        principal: NamedDependency[Principal],
        activations: NamedDependency[ActivationService],
        once: NamedDependency[Once],
        license_id: FromPath[UUID],
    ) -> Response[NewActivationToken]:
        return reply(await activations.make_token(principal, license_id, once), status_code=201)

    @post(
        "/reset-fingerprint",
        permission=Permission.OWN_CREDENTIALS,
        status_code=200,
        summary="Free the license for another panel; at most three times in 30 days",
    )
    async def reset_fingerprint(
        self,
        principal: NamedDependency[Principal],
        activations: NamedDependency[ActivationService],
        license_id: FromPath[UUID],
    ) -> LicenseView:
        return await activations.reset_fingerprint(principal, license_id)


@post(
    "/nextpanel/activate",
    permission=Permission.PUBLIC,
    limit="activation",
    status_code=200,
    tags=["nextpanel"],
    summary="Exchange a license key and a token for the panel's own API key, once",
)
async def activate_panel(
    request: Request[Any, Any, Any], activations: NamedDependency[ActivationService], data: JSONBody[Activate]
) -> Response[Activated]:
    """Not signed, because the panel has no API key yet. Send an Idempotency-Key, so that a retry gets the answer."""
    attempt = ActivationRequest(data, await request.body(), request.headers.get("idempotency-key"))
    return reply(await activations.activate(attempt), status_code=200)


class AdminActivationController(Controller):
    path = "/admin/licenses/{license_id:uuid}"
    tags = ("admin",)

    @post(
        "/reset-fingerprint",
        permission=Permission.LICENSES_CHANGE,
        status_code=200,
        summary="Free the license for another panel; a reason is required",
    )
    async def reset_any_fingerprint(
        self,
        principal: NamedDependency[Principal],
        activation_administration: NamedDependency[ActivationAdministration],
        license_id: FromPath[UUID],
        data: JSONBody[ReasonGiven],
    ) -> AdminLicenseView:
        return await activation_administration.reset_fingerprint(principal, license_id, data.said)
