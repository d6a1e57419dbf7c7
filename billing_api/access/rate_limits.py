"""How often somebody may call: by user, by address, and tighter where a guess, a mail or a partner is to be had.

Counted in Redis for all processes at once. While Redis is away each process counts for itself: with n processes
somebody may reach n times the quota then, which is better than no limit and than nobody getting in.

A route declares its limits beside its permission: `limit`, a tighter one beside the general one of the address, and on
signed routes `failures`, the limit of calls whose signature does not hold. Of signed calls only failures are counted,
and only a failure is refused: one that is verified is never turned away for its number, or usage and money would be
lost. An application in which a route names a limit that does not exist does not start.
"""

import math
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any, Final
from uuid import UUID

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from billing_api.access.client_address import client_address
from core import ip_addresses as addresses
from core.access_store.store import (
    AccessStore,
    Limit,
    StoreAway,
)
from core.errors import TooManyRequests
from core.rate_limit import Allowance, Quota, RateLimit

ADDRESS: Final = "address"
USER: Final = "user"

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
        tighter = declared_limit(connection.route_handler)
        if path.startswith(_UNCOUNTED) or (signed and tighter is None):
            return
        who = addresses.group(client_address(connection))
        wanted = [(ADDRESS, who)]
        if tighter is not None:
            wanted.append((tighter, who))
        if user_id is not None:
            wanted.append((USER, user_id.hex))
        await self._charge(connection, wanted)

    async def count_failure(self, connection: Connection) -> None:
        """TooManyRequests where this address has sent too many calls to this route whose signature did not hold."""
        name = declared_failures(connection.route_handler)
        if name is not None:
            await self._charge(connection, [(name, addresses.group(client_address(connection)))])

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


def declared_limit(handler: BaseRouteHandler) -> str | None:
    name: str | None = handler.opt.get("limit")
    return name


def declared_failures(handler: BaseRouteHandler) -> str | None:
    name: str | None = handler.opt.get("failures")
    return name


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
