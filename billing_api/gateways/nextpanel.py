"""NextPanel, as billing calls it: make an account for a license, and have the account follow the license.

Every call carries a JWT of its own (HS256, one minute, one `jti`) and an Idempotency-Key that its caller derives from
rows of ours, so that a call which is sent again has its effect once.
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


class AccountOrder(msgspec.Struct, frozen=True):
    """An account to be made; `plan` is the license's type."""

    license_id: UUID
    user_email: str
    plan: str
    features: dict[str, Any]


class PlanChange(msgspec.Struct, frozen=True):
    license_id: UUID
    plan: str
    features: dict[str, Any]


class PanelAccount(msgspec.Struct, frozen=True):
    """An account that was made, and where its owner signs in: a link that ends in mails, so a web address."""

    nextpanel_account_id: UUID
    login_url: Annotated[str, msgspec.Meta(pattern=r"^https?://")]


class NextPanel(Protocol):
    """What we ask of NextPanel. `key` makes an effect happen once; all raise Retryable or PartnerRefused."""

    async def provision(self, order: AccountOrder, *, key: str) -> PanelAccount: ...

    async def suspend(self, license_id: UUID, *, key: str) -> None: ...

    async def resume(self, license_id: UUID, *, key: str) -> None: ...

    async def terminate(self, license_id: UUID, *, key: str) -> None: ...

    async def change_plan(self, change: PlanChange, *, key: str) -> None: ...


class NextPanelGateway:
    """NextPanel over HTTP."""

    def __init__(self, base_url: str, jwt_secret: str, clock: Clock) -> None:
        self._client = PartnerClient("NextPanel", base_url, clock)
        self._secret = jwt_secret
        self._clock = clock

    async def provision(self, order: AccountOrder, *, key: str) -> PanelAccount:
        answer = await self._post("provision", order, key)
        try:
            return msgspec.json.decode(answer, type=PanelAccount)
        except (msgspec.DecodeError, msgspec.ValidationError) as failure:
            # Whatever stands between us and NextPanel said 200; what became of the account, nobody knows.
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
