"""Session liveness and revocation: each request checks its session, and an ended one is refused at once, everywhere.

PostgreSQL decides, and Redis caches its answer for two seconds. A fifth file of this domain, because no route asks
this but the guard (billing_api/server/guard.py). In short,

    async with liveness.revocation() as revocation, database.as_system() as tx:
        ...                              # end sessions, suspend a user, change a role or a password
        await revocation.fence(user_id)  # the last step before COMMIT

invalidates the cached answers before COMMIT. So a process that is killed afterwards leaves no cached answer that is
still believed. Where Redis cannot be reached, the block ends only after every cached answer has expired. So the answer
"ended" is true when it is given. docs/decisions/0019-sessions.md shows why no crash can bring an ended session back.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final
from uuid import UUID

from billing_api.access.permissions import ONE_TIME_PASSWORD, PERMISSIONS, Permission, Principal, require_step_up
from billing_api.identity.sessions import repository
from billing_api.identity.sessions.uses import SessionUses
from core.access_store.store import BELIEVED_SECONDS, AccessStore, Look, StoreAway
from core.clock import Clock
from core.errors import InvalidToken, StepUpRequired
from core.telemetry import logger
from db.models.identity import Role
from db.reads import SystemReads
from db.unit_of_work import Database

_SEEN_EVERY: Final = timedelta(minutes=1)
_STALE_AFTER: Final = BELIEVED_SECONDS + 0.1
"""Seconds after which no cached answer is believed any more, with a margin for clocks that run at different speeds."""


class SessionRevocation:
    """The users whose sessions end in one transaction."""

    def __init__(self, store: AccessStore) -> None:
        self._store = store
        self._users: set[UUID] = set()

    async def fence(self, user_id: UUID) -> None:
        """Makes Redis forget the user's sessions, and keep no answers about them for a while."""
        self._users.add(user_id)
        await self._try_fence(user_id)

    async def fence_again(self) -> None:
        """Once more after COMMIT, because the first fence may have expired if this process slept before COMMIT."""
        reached = [await self._try_fence(user_id) for user_id in self._users]
        if not all(reached):
            await asyncio.sleep(_STALE_AFTER)

    async def _try_fence(self, user_id: UUID) -> bool:
        try:
            await self._store.fence(user_id)
        except StoreAway as failure:
            logger().warning("session.fence_failed", user_id=str(user_id), cause=str(failure))
            return False
        return True


class Liveness:
    def __init__(
        self, database: Database, reads: SystemReads, store: AccessStore, uses: SessionUses, clock: Clock
    ) -> None:
        self._database = database
        self._reads = reads
        self._store = store
        self._uses = uses
        self._clock = clock

    async def check(self, principal: Principal) -> None:
        """InvalidToken where the session has ended, its user is suspended, or the role differs from the token's."""
        await self.judge(principal, await self._cached(principal))

    async def judge(self, principal: Principal, seen: Look | None) -> None:
        """`check`, where Redis has been asked already. `seen`: its answer; None where there is none."""
        role = await self._role_now(principal, seen)
        if role is None:
            raise InvalidToken("this sign-in has ended: sign in again with POST auth/login")
        if role is not principal.role:
            raise InvalidToken("your role has changed: refresh the access token with POST auth/refresh")

    async def require_step_up(self, principal: Principal) -> None:
        """StepUpRequired where the sign-in is older than five minutes, or lacks the second factor of the account.

        The session's row decides, not the token: a factor may have been set up since the token was issued.
        """
        require_step_up(principal, self._clock())
        has_factor, amr = await self._strongest_proof(principal)
        if has_factor and ONE_TIME_PASSWORD not in {*amr, *principal.amr}:
            raise StepUpRequired(
                "this account has a second factor, and this sign-in has not given it: POST auth/step-up with the"
                " password and a code of your authenticator app, or a recovery code"
            )

    async def require_factor(self, principal: Principal) -> None:
        """`require_step_up` where the account has a factor, for calls that take the password themselves."""
        has_factor, _ = await self._strongest_proof(principal)
        if has_factor:
            await self.require_step_up(principal)

    @asynccontextmanager
    async def revocation(self) -> AsyncIterator[SessionRevocation]:
        """Surrounds a transaction that ends sessions. If it fails, nothing has changed and nothing is waited for."""
        revocation = SessionRevocation(self._store)
        yield revocation
        await revocation.fence_again()

    async def _strongest_proof(self, principal: Principal) -> tuple[bool, list[str]]:
        async with self._database.as_system() as tx:
            return await repository.strongest_proof(tx, principal.session_id, principal.user_id)

    async def _role_now(self, principal: Principal, cached: Look | None) -> Role | None:
        if principal.actor_id is not None:
            return await self._role_in_postgres(principal)  # not cached: it is rare and depends on two users
        if cached is not None and cached.role is not None:
            return Role(cached.role)
        role = await self._role_in_postgres(principal)
        if role is not None and cached is not None:
            await self._cache(principal, cached, role)
        return role

    async def _cached(self, principal: Principal) -> Look | None:
        """What Redis says; None where it is away, or is not asked."""
        if not is_cached(principal):
            return None
        try:
            return await self._store.look(principal.session_id, principal.user_id)
        except StoreAway:
            return None

    async def _cache(self, principal: Principal, cached: Look, role: Role) -> None:
        try:
            await self._store.keep(principal.session_id, principal.user_id, cached, role)
        except StoreAway:
            return

    async def _role_in_postgres(self, principal: Principal) -> Role | None:
        """None where the session is not live. Also notes that it was used."""
        now = self._clock()
        values = {"session_id": principal.session_id, "user_id": principal.signed_in_id, "now": now}
        rows = await self._reads.rows(repository.LIVE, values)
        if not rows:
            return None
        live = rows[0]
        if now - live.last_seen_at >= _SEEN_EVERY:
            self._uses.note(principal.session_id, now)
        role = Role(live.role)
        return role if principal.actor_id is None else await self._impersonated(principal, role)

    async def _impersonated(self, principal: Principal, actors_role: Role) -> Role | None:
        """The customer's role, while the actor may impersonate and the customer is active."""
        if Permission.USERS_IMPERSONATE not in PERMISSIONS[actors_role]:
            return None
        customer = await self._reads.rows(repository.ACTIVE_CUSTOMER, {"user_id": principal.user_id})
        return Role.CUSTOMER if customer else None


def is_cached(principal: Principal) -> bool:
    """Whether Redis may know the session: an impersonation depends on two users, and is rare."""
    return principal.actor_id is None
