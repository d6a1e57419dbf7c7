"""Rate limiting by user and by address, with tighter limits where a call guesses, sends a mail or asks a partner.

The quotas themselves are `LIMITS` in core/settings.py; an operator changes them with NP_LIMITS.

Redis counts for all processes together. While Redis is away each process counts for itself. With n processes a caller
may then reach n times the quota. That is better than no limit, and better than refusing everybody.

A route declares its limits beside its permission:

    limit      a tighter limit, beside the general one of the address
    failures   on signed routes: how many calls with a wrong signature one address may send

Of signed calls only failures are counted, and only failures are refused. A verified call is never refused for its
number, because usage and money would be lost. The application does not start if a route names an unknown limit.
"""

import math
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any, Final

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from billing_api.access.client_address import client_address
from billing_api.access.permissions import Principal
from core import ip_addresses
from core.access_store.store import AccessStore, Limit, Look, StoreAway
from core.counted import counted
from core.errors import TooManyRequests
from core.rate_limit import Allowance, Quota, RateLimit

ADDRESS: Final = "address"
USER: Final = "user"
SERVICE_ACCOUNT: Final = "service_account"

_UNCOUNTED: Final = "/health/"
_FIELDS: Final = "rate_limit_fields"

Connection = ASGIConnection[Any, Any, Any, Any]


class RateLimiter:
    def __init__(self, store: AccessStore, quotas: Mapping[str, Quota]) -> None:
        self._store = store
        self._quotas = quotas
        self._local = {name: RateLimit(quota.rate, quota.seconds) for name, quota in quotas.items()}

    async def enforce(
        self, connection: Connection, principal: Principal | None, *, signed: bool, look: bool
    ) -> Look | None:
        """TooManyRequests where a limit is reached. Keeps the remaining quotas for the answer's headers.

        A service account has a limit of its own in place of its address's: many run on one server of the seller.
        `look`: the answer is what Redis knows of the principal's session, asked in the same round trip.
        """
        path: str = connection.scope["path_template"]
        tighter = declared_limit(connection.route_handler)
        if path.startswith(_UNCOUNTED) or (signed and tighter is None):
            return None
        who = ip_addresses.group(client_address(connection))
        wanted = [(ADDRESS, who)]
        if principal is not None and principal.is_service_account:
            wanted = [(SERVICE_ACCOUNT, principal.user_id.hex)]
        if tighter is not None:
            wanted.append((tighter, who))
        if principal is not None and not principal.is_service_account:
            wanted.append((USER, principal.signed_in_id.hex))
        limits = self._limits(wanted)
        if not look or principal is None:
            self._settle(connection, limits, await self.take(limits))
            return None
        try:
            allowances, seen = await self._store.admit(limits, principal.session_id, principal.user_id)
        except StoreAway:
            allowances, seen = self._take_here(limits), None
        self._settle(connection, limits, allowances)
        return seen

    async def count_failure(self, connection: Connection) -> None:
        """TooManyRequests where this address has sent too many calls with a wrong signature to this route."""
        name = declared_failures(connection.route_handler)
        if name is not None:
            limits = self._limits([(name, ip_addresses.group(client_address(connection)))])
            self._settle(connection, limits, await self.take(limits))

    async def take(self, limits: Sequence[Limit]) -> list[Allowance]:
        """One answer for each limit.

        Without Redis a call that one limit refuses still counts against the others: too strict, never too lax.
        """
        try:
            return await self._store.take(limits)
        except StoreAway:
            return self._take_here(limits)

    def _take_here(self, limits: Sequence[Limit]) -> list[Allowance]:
        now = monotonic()
        return [self._local[limit.name].take(limit.who, 1, now) for limit in limits]

    def _limits(self, wanted: Sequence[tuple[str, str]]) -> list[Limit]:
        return [Limit(name, who, self._quotas[name]) for name, who in wanted]

    def _settle(self, connection: Connection, limits: Sequence[Limit], allowances: Sequence[Allowance]) -> None:
        """Keeps what is left for the headers, and refuses the request where nothing is."""
        connection.scope["state"][_FIELDS] = _fields(limits, allowances)
        if all(allowance.allowed for allowance in allowances):
            return
        wait = max(1, math.ceil(max(allowance.wait for allowance in allowances)))
        reached = next(limit for limit, allowance in zip(limits, allowances, strict=True) if not allowance.allowed)
        raise TooManyRequests(
            f"the limit {reached.name!r} is {counted(reached.quota.requests, 'request')} in"
            f" {counted(reached.quota.seconds, 'second')}; wait {counted(wait, 'second')}, then try again",
            retry_after=wait,
        )


def declared_limit(handler: BaseRouteHandler) -> str | None:
    name: str | None = handler.opt.get("limit")
    return name


def declared_failures(handler: BaseRouteHandler) -> str | None:
    name: str | None = handler.opt.get("failures")
    return name


def rate_limit_headers(scope: Any) -> Mapping[str, str]:
    """Headers for the answer: the limits that counted this request, and what is left of each."""
    fields: Mapping[str, str] = scope.get("state", {}).get(_FIELDS, {})
    return fields


def _fields(limits: Sequence[Limit], allowances: Sequence[Allowance]) -> dict[str, str]:
    """As draft-ietf-httpapi-ratelimit-headers says. `t`: in how many seconds the full quota is back."""
    policies, states = [], []
    for limit, allowance in zip(limits, allowances, strict=True):
        quota = limit.quota
        whole_again = math.ceil((quota.requests - allowance.remaining) / quota.rate)
        policies.append(f'"{limit.name}";q={quota.requests};w={quota.seconds}')
        states.append(f'"{limit.name}";r={allowance.remaining};t={whole_again}')
    return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(states)}
