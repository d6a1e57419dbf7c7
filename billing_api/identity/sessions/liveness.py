"""Session liveness: asked by every request with an access token; ended at once, everywhere.

Postgres says it, and Redis remembers for two seconds what Postgres said. A fifth file of this domain, for it is no use
case of HTTP but the guard's own question (billing_api/server/guard.py). Why it can never bring an ended session back,
no matter which process is killed when: docs/decisions/0019-sessions.md. In short,

    async with liveness.ending() as ending, database.as_system() as tx:
        ...                       # end sessions, suspend a user, change a role or a password
        await ending.of(user_id)  # the last thing before COMMIT

fences before COMMIT, so that nobody's death afterwards leaves anything that is believed. Where Redis cannot be told,
the block ends only when whatever it may still say has gone stale. So an answer that says "ended" is true when it is
given.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final
from uuid import UUID

from billing_api.access.permissions import (
    ONE_TIME_PASSWORD,
    PERMISSIONS,
    Permission,
    Principal,
    require_step_up,
)
from billing_api.identity.sessions import repository
from core.access_store.store import (
    BELIEVED_SECONDS,
    AccessStore,
    Look,
    StoreAway,
)
from core.clock import Clock
from core.errors import StepUpRequired, Unauthenticated
from core.telemetry import logger
from db.models.identity import Role
from db.unit_of_work import Database, SystemTransaction

_SEEN_EVERY: Final = timedelta(minutes=1)
_STALE_AFTER: Final = BELIEVED_SECONDS + 0.1
"""Seconds after which nothing that Redis may hold is believed any more, with something for clocks that run unevenly."""


class Ending:
    """Whose sessions end in a transaction."""

    def __init__(self, store: AccessStore) -> None:
        self._store = store
        self._users: set[UUID] = set()

    async def of(self, user_id: UUID) -> None:
        self._users.add(user_id)
        await self._fence(user_id)

    async def fence_again(self) -> None:
        """After COMMIT, once more: a process that slept between fence and COMMIT may have slept through the fence."""
        told = [await self._fence(user_id) for user_id in self._users]
        if not all(told):
            await asyncio.sleep(_STALE_AFTER)

    async def _fence(self, user_id: UUID) -> bool:
        try:
            await self._store.fence(user_id)
        except StoreAway as failure:
            logger().warning("session.fence_failed", user_id=str(user_id), cause=str(failure))
            return False
        return True


class Liveness:
    def __init__(self, database: Database, store: AccessStore, clock: Clock) -> None:
        self._database = database
        self._store = store
        self._clock = clock

    async def check(self, principal: Principal) -> None:
        """Unauthenticated where the session has ended, its user is suspended, or the role is not the token's."""
        role = await self._role_now(principal)
        if role is None:
            raise Unauthenticated("this sign-in has ended; sign in again")
        if role is not principal.role:
            raise Unauthenticated("what you may do here has changed; refresh the access token")

    async def require_step_up(self, principal: Principal) -> None:
        """StepUpRequired where the sign-in is older than five minutes, or knows less than the account can ask for.

        The session's row is asked, not the token: a factor may have been set up since both were made.
        """
        require_step_up(principal, self._clock())
        has_factor, amr = await self._strongest_proof(principal)
        if has_factor and ONE_TIME_PASSWORD not in {*amr, *principal.amr}:
            raise StepUpRequired(
                "POST auth/step-up with the password and a code of your authenticator app, or a recovery code: this"
                " account has a second factor, and this sign-in has not given it"
            )

    async def require_factor(self, principal: Principal) -> None:
        """The same where the account has a factor; nothing where it has none, for what asks for the password itself."""
        has_factor, _ = await self._strongest_proof(principal)
        if has_factor:
            await self.require_step_up(principal)

    @asynccontextmanager
    async def ending(self) -> AsyncIterator[Ending]:
        """Around a transaction that ends sessions. Where that fails nothing has changed, and nothing is waited for."""
        ending = Ending(self._store)
        yield ending
        await ending.fence_again()

    async def _strongest_proof(self, principal: Principal) -> tuple[bool, list[str]]:
        async with self._database.as_system() as tx:
            return await repository.strongest_proof(tx, principal.session_id, principal.user_id)

    async def _role_now(self, principal: Principal) -> Role | None:
        if principal.actor_id is not None:
            return await self._asked(principal)  # too rare, and about two people: not worth remembering
        seen = await self._look(principal)
        if seen is not None and seen.role is not None:
            return Role(seen.role)
        role = await self._asked(principal)
        if role is not None and seen is not None:
            await self._keep(principal, seen, role)
        return role

    async def _look(self, principal: Principal) -> Look | None:
        try:
            return await self._store.look(principal.session_id, principal.user_id)
        except StoreAway:
            return None

    async def _keep(self, principal: Principal, seen: Look, role: Role) -> None:
        try:
            await self._store.keep(principal.session_id, principal.user_id, seen, role)
        except StoreAway:
            return

    async def _asked(self, principal: Principal) -> Role | None:
        """Postgres's word."""
        now = self._clock()
        async with self._database.as_system() as tx:
            live = await repository.live(tx, principal.session_id, principal.signed_in_id, now)
            if live is None:
                return None
            if now - live.last_seen_at >= _SEEN_EVERY:
                await repository.touch(tx, principal.session_id, now)
            return live.role if principal.actor_id is None else await _impersonated(tx, principal, live.role)


async def _impersonated(tx: SystemTransaction, principal: Principal, actors_role: Role) -> Role | None:
    """The customer's role while both stand: somebody who may do this, and a customer whom it may be done to."""
    may = Permission.USERS_IMPERSONATE in PERMISSIONS[actors_role]
    return Role.CUSTOMER if may and await repository.is_active_customer(tx, principal.user_id) else None
