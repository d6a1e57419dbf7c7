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
from billing_api.web.parameters import IDEMPOTENCY_KEY, ReasonGiven, reply
from billing_api.web.problems import documented
from core.errors import ActivationRefused, Conflict, FingerprintMismatch, FingerprintRequired, IdempotencyMismatch
from db.idempotency import Once


class LicenseActivationController(Controller):
    path = "/licenses/{license_id:uuid}"
    tags = ("licenses",)

    @post(
        "/activation-tokens",
        permission=Permission.OWN_CREDENTIALS,
    )
    async def create_activation_token(
        self,
        principal: NamedDependency[Principal],
        activations: NamedDependency[ActivationService],
        once: NamedDependency[Once],
        license_id: FromPath[UUID],
    ) -> Response[NewActivationToken]:
        """Create an activation token for one panel.

        It is shown only now, works once, and is valid for 24 hours. A sixth token ends the oldest.
        """
        return reply(await activations.make_token(principal, license_id, once), status_code=201)

    @post(
        "/reset-fingerprint",
        permission=Permission.OWN_CREDENTIALS,
        status_code=200,
    )
    async def reset_fingerprint(
        self,
        principal: NamedDependency[Principal],
        activations: NamedDependency[ActivationService],
        license_id: FromPath[UUID],
    ) -> LicenseView:
        """Free my license for another panel.

        The binding to a fingerprint ends; the next activation binds it again. At most three times in 30 days. The old
        panel's API key stays valid until it is revoked.
        """
        return await activations.reset_fingerprint(principal, license_id)


@post(
    "/nextpanel/activate",
    permission=Permission.PUBLIC,
    limit="activation",
    documented_key=IDEMPOTENCY_KEY,
    status_code=200,
    tags=["nextpanel"],
    responses={
        403: documented(ActivationRefused),
        409: documented(Conflict, FingerprintMismatch),
        422: documented(FingerprintRequired, IdempotencyMismatch),
    },
)
async def activate_panel(
    request: Request[Any, Any, Any], activations: NamedDependency[ActivationService], data: JSONBody[Activate]
) -> Response[Activated]:
    """Activate a panel.

    Exchanges the license key and an activation token for the panel's own API key, once. It is not signed, because the
    panel has no API key yet. Send an Idempotency-Key, so that a retry gets the same answer.
    """
    attempt = ActivationRequest(data, await request.body(), request.headers.get("idempotency-key"))
    return reply(await activations.activate(attempt), status_code=200)


class AdminActivationController(Controller):
    path = "/admin/licenses/{license_id:uuid}"
    tags = ("admin",)

    @post(
        "/reset-fingerprint",
        permission=Permission.LICENSES_CHANGE,
        status_code=200,
    )
    async def reset_any_fingerprint(
        self,
        principal: NamedDependency[Principal],
        activation_administration: NamedDependency[ActivationAdministration],
        license_id: FromPath[UUID],
        data: JSONBody[ReasonGiven],
    ) -> AdminLicenseView:
        """Free any license for another panel.

        The binding to a fingerprint ends; the next activation binds it again. It does not count against the owner's
        three resets.
        """
        return await activation_administration.reset_fingerprint(principal, license_id, data.said)
