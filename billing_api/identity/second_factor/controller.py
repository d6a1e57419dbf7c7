"""Second factor over HTTP: set up, confirm, remove, new recovery codes. Signing in with it is under `auth/`."""

from typing import Final

from litestar import Controller, Response, delete, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from billing_api.access.permissions import Permission, Principal
from billing_api.identity.second_factor.schemas import Confirmation, Enrollment, RecoveryCodes, SecondFactorState
from billing_api.identity.second_factor.service import SecondFactorService

_SECRET: Final = {"Cache-Control": "no-store"}


class SecondFactorController(Controller):
    path = "/me/mfa"
    tags = ("second factor",)

    @get("/", permission=Permission.OWN_CREDENTIALS)
    async def get_second_factor(
        self, principal: NamedDependency[Principal], second_factor: NamedDependency[SecondFactorService]
    ) -> SecondFactorState:
        """Read the state of my second factor.

        Whether an authenticator app is set up, and how many recovery codes are left.
        """
        return await second_factor.state(principal)

    @post("/totp", permission=Permission.OWN_CREDENTIALS, step_up=True)
    async def begin_totp(
        self,
        principal: NamedDependency[Principal],
        request_id: NamedDependency[str],
        second_factor: NamedDependency[SecondFactorService],
    ) -> Response[Enrollment]:
        """Begin to set up an authenticator app.

        The answer holds a secret for the app, as text and as a QR code. Nothing changes until it is confirmed with a
        code, within 15 minutes.
        """
        return Response(await second_factor.begin(principal, request_id=request_id), headers=_SECRET)

    @post(
        "/totp/confirm",
        permission=Permission.OWN_CREDENTIALS,
        status_code=200,
    )
    async def confirm_totp(
        self,
        principal: NamedDependency[Principal],
        request_id: NamedDependency[str],
        second_factor: NamedDependency[SecondFactorService],
        data: JSONBody[Confirmation],
    ) -> Response[RecoveryCodes]:
        """Switch the second factor on.

        Needs a code that the app shows now. The answer holds ten recovery codes: they are shown this once.
        """
        codes = await second_factor.confirm(principal, data.code, request_id=request_id)
        return Response(codes, headers=_SECRET)

    @delete("/totp", permission=Permission.OWN_CREDENTIALS, step_up=True)
    async def remove_totp(
        self,
        principal: NamedDependency[Principal],
        request_id: NamedDependency[str],
        second_factor: NamedDependency[SecondFactorService],
    ) -> None:
        """Remove my second factor.

        The authenticator app and all recovery codes end. A mail tells the owner.
        """
        await second_factor.remove(principal, request_id=request_id)

    @post(
        "/recovery-codes",
        permission=Permission.OWN_CREDENTIALS,
        step_up=True,
    )
    async def renew_recovery_codes(
        self,
        principal: NamedDependency[Principal],
        request_id: NamedDependency[str],
        second_factor: NamedDependency[SecondFactorService],
    ) -> Response[RecoveryCodes]:
        """Get ten new recovery codes.

        The codes from before end. The new ones are shown this once.
        """
        codes = await second_factor.renew_recovery_codes(principal, request_id=request_id)
        return Response(codes, headers=_SECRET)
