"""Second factor over HTTP: set up, confirm, remove, new recovery codes. Signing in with it is under `auth/`."""

from typing import Final

from litestar import Controller, Response, delete, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from billing_api.access.permissions import Permission, Principal
from billing_api.identity.second_factor.schemas import Confirmation, Enrolment, RecoveryCodes, SecondFactorState
from billing_api.identity.second_factor.service import SecondFactorService

_SECRET: Final = {"Cache-Control": "no-store"}


class SecondFactorController(Controller):
    path = "/me/mfa"
    tags = ("second factor",)

    @get("/", permission=Permission.OWN_CREDENTIALS, summary="My second factor")
    async def get_second_factor(
        self, principal: NamedDependency[Principal], second_factor: NamedDependency[SecondFactorService]
    ) -> SecondFactorState:
        return await second_factor.state(principal)

    @post("/totp", permission=Permission.OWN_CREDENTIALS, step_up=True, summary="Begin to set up an authenticator app")
    async def begin_totp(
        self,
        principal: NamedDependency[Principal],
        request_id: NamedDependency[str],
        second_factor: NamedDependency[SecondFactorService],
    ) -> Response[Enrolment]:
        return Response(await second_factor.begin(principal, request_id=request_id), headers=_SECRET)

    @post(
        "/totp/confirm",
        permission=Permission.OWN_CREDENTIALS,
        status_code=200,
        summary="Switch it on with a code of the app; the answer holds the recovery codes",
    )
    async def confirm_totp(
        self,
        principal: NamedDependency[Principal],
        request_id: NamedDependency[str],
        second_factor: NamedDependency[SecondFactorService],
        data: JSONBody[Confirmation],
    ) -> Response[RecoveryCodes]:
        codes = await second_factor.confirm(principal, data.code, request_id=request_id)
        return Response(codes, headers=_SECRET)

    @delete("/totp", permission=Permission.OWN_CREDENTIALS, step_up=True, summary="Remove it, and its recovery codes")
    async def remove_totp(
        self,
        principal: NamedDependency[Principal],
        request_id: NamedDependency[str],
        second_factor: NamedDependency[SecondFactorService],
    ) -> None:
        await second_factor.remove(principal, request_id=request_id)

    @post(
        "/recovery-codes",
        permission=Permission.OWN_CREDENTIALS,
        step_up=True,
        summary="Ten new recovery codes; the old ones end",
    )
    async def renew_recovery_codes(
        self,
        principal: NamedDependency[Principal],
        request_id: NamedDependency[str],
        second_factor: NamedDependency[SecondFactorService],
    ) -> Response[RecoveryCodes]:
        codes = await second_factor.renew_recovery_codes(principal, request_id=request_id)
        return Response(codes, headers=_SECRET)
