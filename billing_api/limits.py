"""How often somebody may call: by user, by address, and tighter where a guess, a mail or a partner is to be had.

Counted in Redis for all processes at once. While Redis is away each process counts for itself: with n processes
somebody may reach n times the quota then, which is better than no limit and than nobody getting in.

Calls that NextPanel signs are not counted here. A Stripe event is counted only where its signature does not hold: one
that is verified is never turned away for its number, or money would be lost (billing_api/webhooks/controller.py).
"""

import math
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any, Final
from uuid import UUID

from litestar.connection import ASGIConnection

from billing_api import addresses
from billing_api.client_address import client_address
from core.errors import TooManyRequests
from core.hotstore.access import AccessStore, Limit, StoreAway
from core.rate_limit import Allowance, Quota, RateLimit

ADDRESS: Final = "address"
USER: Final = "user"
WEBHOOK_FAILURES: Final = "webhook_failures"

TIGHTER: Final[Mapping[str, str]] = {
    "/api/v1/auth/login": "login",
    "/api/v1/auth/mfa": "login",
    "/api/v1/auth/step-up": "login",
    "/api/v1/oauth/token": "login",
    "/api/v1/auth/register": "register",
    "/api/v1/auth/verify-email": "password",
    "/verify-email": "password",
    "/api/v1/auth/password/forgot": "password",
    "/api/v1/auth/password/reset": "password",
    "/reset-password": "password",
    "/api/v1/auth/email/confirm": "password",
    "/confirm-email": "password",
    "/api/v1/auth/email/undo": "password",
    "/undo-email-change": "password",
    "/api/v1/nextpanel/activate": "activation",
    "/api/v1/domains/search": "search",
    "/api/v1/domains/suggest": "search",
}
"""Path → the limit of the address that comes beside the general one. In one place, to be seen at a glance."""

_UNCOUNTED: Final = "/health/"
_FIELDS: Final = "rate_limit_fields"

Connection = ASGIConnection[Any, Any, Any, Any]


class Limits:
    def __init__(self, store: AccessStore, quotas: Mapping[str, Quota]) -> None:
        self._store = store
        self._quotas = quotas
        self._own = {name: RateLimit(quota.rate, quota.seconds) for name, quota in quotas.items()}

    async def enforce(self, connection: Connection, user_id: UUID | None, *, signed: bool) -> None:
        """TooManyRequests where a limit is reached. Leaves what is left of each for the answer's headers."""
        path: str = connection.scope["path_template"]
        tighter = TIGHTER.get(path)
        if path.startswith(_UNCOUNTED) or (signed and tighter is None):
            return
        who = addresses.group(client_address(connection))
        wanted = [(ADDRESS, who)]
        if tighter is not None:
            wanted.append((tighter, who))
        if user_id is not None:
            wanted.append((USER, user_id.hex))
        await self._charge(connection, wanted)

    async def count_failed_webhook(self, connection: Connection) -> None:
        """TooManyRequests where this address has sent too many whose signature did not hold."""
        who = addresses.group(client_address(connection))
        await self._charge(connection, [(WEBHOOK_FAILURES, who)])

    async def take(self, limits: Sequence[Limit]) -> list[Allowance]:
        """Without Redis what one limit refuses is counted by the others all the same: too strict, never too lax."""
        try:
            return await self._store.take(limits)
        except StoreAway:
            now = monotonic()
            return [self._own[limit.name].take(limit.who, 1, now) for limit in limits]

    async def _charge(self, connection: Connection, wanted: Sequence[tuple[str, str]]) -> None:
        limits = [Limit(name, who, self._quotas[name]) for name, who in wanted]
        allowances = await self.take(limits)
        connection.scope["state"][_FIELDS] = _fields(limits, allowances)
        if all(allowance.allowed for allowance in allowances):
            return
        wait = max(1, math.ceil(max(allowance.wait for allowance in allowances)))
        reached = next(limit for limit, allowance in zip(limits, allowances, strict=True) if not allowance.allowed)
        raise TooManyRequests(
            f"the limit {reached.name!r} is {reached.quota.requests} requests in {reached.quota.seconds} seconds;"
            f" try again in {wait} seconds",
            retry_after=wait,
        )


def fields_of(scope: Any) -> Mapping[str, str]:
    """The headers that tell of the limits which this request was counted under."""
    fields: Mapping[str, str] = scope.get("state", {}).get(_FIELDS, {})
    return fields


def _fields(limits: Sequence[Limit], allowances: Sequence[Allowance]) -> dict[str, str]:
    """Those of draft-ietf-httpapi-ratelimit-headers. `t` is when the full quota is there again, in seconds."""
    policies, states = [], []
    for limit, allowance in zip(limits, allowances, strict=True):
        quota = limit.quota
        whole_again = math.ceil((quota.requests - allowance.remaining) / quota.rate)
        policies.append(f'"{limit.name}";q={quota.requests};w={quota.seconds}')
        states.append(f'"{limit.name}";r={allowance.remaining};t={whole_again}')
    return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(states)}
