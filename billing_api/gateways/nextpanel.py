"""Provisioning client of NextPanel: creates an account for a license, and updates it when the license changes.

Every call carries its own JWT (HS256, one minute, one `jti`) and an Idempotency-Key. Callers derive that key from our
rows, so that a call that is sent again takes effect once.
"""

from datetime import timedelta
from typing import Annotated, Any, Final, Protocol
from uuid import UUID

import jwt
import msgspec

from billing_api.gateways.http_client import PartnerClient, Retryable
from core.clock import Clock
from core.ids import new_id

ISSUER: Final = "nextpanel-billing"
AUDIENCE: Final = "nextpanel"
TOKEN_LIFETIME: Final = timedelta(seconds=60)
_PREFIX: Final = "/api/v1/nextpanel"
_TIMEOUT_SECONDS: Final = 10.0
"""Of a whole call; less than a provisioning job is claimed for."""


class AccountOrder(msgspec.Struct, frozen=True):
    """The request to create an account; `plan` is the license's type."""

    license_id: UUID
    user_email: str
    plan: str
    features: dict[str, Any]


class PlanChange(msgspec.Struct, frozen=True):
    license_id: UUID
    plan: str
    features: dict[str, Any]


class PanelAccount(msgspec.Struct, frozen=True):
    """An account that was created. `login_url` is put into mails, so it must be a web address."""

    nextpanel_account_id: UUID
    login_url: Annotated[str, msgspec.Meta(pattern=r"^https?://")]


class NextPanel(Protocol):
    """The calls we make. Each takes effect once for a `key`; each raises Retryable or PartnerRefused."""

    async def provision(self, order: AccountOrder, *, key: str) -> PanelAccount: ...

    async def suspend(self, license_id: UUID, *, key: str) -> None: ...

    async def resume(self, license_id: UUID, *, key: str) -> None: ...

    async def terminate(self, license_id: UUID, *, key: str) -> None: ...

    async def change_plan(self, change: PlanChange, *, key: str) -> None: ...


class NextPanelGateway:
    """NextPanel over HTTP."""

    def __init__(self, base_url: str, jwt_secret: str, clock: Clock) -> None:
        self._client = PartnerClient("NextPanel", base_url, clock, timeout_seconds=_TIMEOUT_SECONDS)
        self._secret = jwt_secret
        self._clock = clock

    async def provision(self, order: AccountOrder, *, key: str) -> PanelAccount:
        answer = await self._post("provision", order, key)
        try:
            return msgspec.json.decode(answer, type=PanelAccount)
        except (msgspec.DecodeError, msgspec.ValidationError) as failure:
            # A proxy between us and NextPanel may have answered 200, so the account may exist or not.
            raise Retryable(f"NextPanel's answer cannot be read: {failure}") from failure

    async def suspend(self, license_id: UUID, *, key: str) -> None:
        await self._post("suspend", {"license_id": license_id}, key)

    async def resume(self, license_id: UUID, *, key: str) -> None:
        await self._post("resume", {"license_id": license_id}, key)

    async def terminate(self, license_id: UUID, *, key: str) -> None:
        await self._post("terminate", {"license_id": license_id}, key)

    async def change_plan(self, change: PlanChange, *, key: str) -> None:
        await self._post("change-plan", change, key)

    async def close(self) -> None:
        await self._client.close()

    async def _post(self, call: str, body: Any, key: str) -> bytes:
        headers = {"Authorization": f"Bearer {self._token()}", "Idempotency-Key": key}
        return await self._client.post(f"{_PREFIX}/{call}", body, headers)

    def _token(self) -> str:
        now = self._clock()
        claims = {"iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + TOKEN_LIFETIME, "jti": str(new_id())}
        return jwt.encode(claims, self._secret, "HS256")
