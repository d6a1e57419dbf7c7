"""Access store: rate limits and a cache of sessions in Redis, by the functions of access.lua. Callers can do without.

Every call has a time limit, and a server that fails is not asked for a moment. Callers know what to do while Redis is
away, and must not wait for one timeout after another. Only `fence` is always tried.
"""

import hashlib
import secrets
from collections.abc import Sequence
from importlib import resources
from time import monotonic
from typing import Any, Final, NamedTuple
from uuid import UUID

from hiredis import ReplyError

from core.access_store.link import AccessLink, LinkDown
from core.hotstore import keys
from core.hotstore.functions import is_missing
from core.rate_limit import Allowance, Quota

BELIEVED_SECONDS: Final = 2
"""For how long an answer of Postgres about a session is believed, by the clock of the Redis server."""
KEPT_SECONDS: Final = 30 * 60
"""For how long an entry is kept after its last use."""
FENCE_SECONDS: Final = 30
"""Longer than any transaction that ends sessions takes from its fence to its COMMIT."""

_LEFT_ALONE: Final = 1.0
_MICROSECONDS: Final = 1_000_000
_TEMPLATE: Final = resources.files("core.access_store").joinpath("access.lua").read_text("utf-8")
_VERSION: Final = hashlib.sha256(_TEMPLATE.encode()).hexdigest()[:8]
SOURCE: Final = _TEMPLATE.replace("@VERSION@", _VERSION)


class StoreAway(Exception):
    """Redis does not answer. This is not a refusal: the caller goes on without it."""


class Look(NamedTuple):
    """What is known of a session. `role` None: ask Postgres, then call `keep` with this Look."""

    generation: bytes
    at: int
    role: str | None


class Limit(NamedTuple):
    name: str
    who: str
    quota: Quota

    @property
    def key(self) -> str:
        return keys.rate(self.name, self.who)


class Admission(NamedTuple):
    """An answer for each limit, and what is known of the session: None where a limit refuses the request."""

    allowances: list[Allowance]
    seen: Look | None


class AccessStore:
    def __init__(self, url: str, *, name: str = "nextpanel-billing") -> None:
        """Connects at its first use. `name`: what the server shows in CLIENT LIST."""
        self._link = AccessLink(url, name=name)
        self._tried_again_at = 0.0

    async def close(self) -> None:
        await self._link.close()

    async def take(self, limits: Sequence[Limit]) -> list[Allowance]:
        """Counts one request against all limits; if one of them refuses it, none counts it."""
        prices = _prices(limits)
        return _allowances(prices, await self._call("take", [limit.key for limit in limits], prices))

    async def look(self, session_id: UUID, user_id: UUID) -> Look:
        return _look(*await self._call("look", _session_keys(session_id, user_id), _believed()))

    async def admit(self, limits: Sequence[Limit], session_id: UUID, user_id: UUID) -> Admission:
        """`take` and `look` in one round trip."""
        names = [*_session_keys(session_id, user_id), *(limit.key for limit in limits)]
        prices = _prices(limits)
        answer = await self._call("admit", names, [*_believed(), *prices])
        counted = 1 + len(limits)
        seen = _look(*answer[counted:]) if len(answer) > counted else None
        return Admission(_allowances(prices, answer[:counted]), seen)

    async def keep(self, session_id: UUID, user_id: UUID, seen: Look, role: str) -> bool:
        """Keeps that Postgres, asked after `seen`, called the session live. False where a fence came in between."""
        if not seen.generation:
            return False
        arguments = (seen.generation, seen.at, role, KEPT_SECONDS)
        return bool(await self._call("keep", _session_keys(session_id, user_id), arguments))

    async def fence(self, user_id: UUID) -> None:
        """From now on nothing that is known of this user's sessions is believed."""
        self._tried_again_at = 0.0
        await self._call("fence", [keys.session_generation(user_id)], (FENCE_SECONDS,))

    async def _call(self, function: str, names: Sequence[str], arguments: Sequence[str | bytes | int]) -> Any:
        if monotonic() < self._tried_again_at:
            raise StoreAway
        call = ("FCALL", f"np_{_VERSION}_{function}", len(names), *names, *arguments)
        try:
            return await self._asked(call)
        except (LinkDown, ReplyError) as failure:
            self._tried_again_at = monotonic() + _LEFT_ALONE
            raise StoreAway(str(failure)) from failure

    async def _asked(self, call: tuple[str | bytes | int, ...]) -> Any:
        try:
            return await self._link.ask(*call)
        except ReplyError as failure:
            if not is_missing(str(failure)):
                raise
            await self._link.ask("FUNCTION", "LOAD", "REPLACE", SOURCE)
            return await self._link.ask(*call)


def _prices(limits: Sequence[Limit]) -> list[int]:
    """For each limit the microseconds that one request costs, and those of its window."""
    return [
        number
        for limit in limits
        for number in (_MICROSECONDS * limit.quota.seconds // limit.quota.requests, _MICROSECONDS * limit.quota.seconds)
    ]


def _allowances(prices: Sequence[int], answer: Sequence[int]) -> list[Allowance]:
    allowed, *ahead = answer
    facts = zip(prices[::2], prices[1::2], ahead, strict=True)
    return [_allowance(cost, window, ahead, counted=allowed == 1) for cost, window, ahead in facts]


def _believed() -> tuple[int, int, str]:
    return BELIEVED_SECONDS * _MICROSECONDS, KEPT_SECONDS, secrets.token_hex(8)


def _look(generation: bytes, at: int, role: bytes) -> Look:
    return Look(generation, at, role.decode() or None)


def _session_keys(session_id: UUID, user_id: UUID) -> tuple[str, str]:
    return keys.session(session_id), keys.session_generation(user_id)


def _allowance(cost: int, window: int, ahead: int, *, counted: bool) -> Allowance:
    allowed = ahead <= window
    remaining = max(0, (window - ahead + (0 if counted else cost)) // cost)
    return Allowance(allowed, remaining, 0.0 if allowed else (ahead - window) / _MICROSECONDS)
