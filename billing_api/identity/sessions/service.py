"""Session management by the user: list the own sign-ins, and end those that are not wanted."""

from uuid import UUID

from billing_api.access.permissions import Principal
from billing_api.identity.sessions import repository
from billing_api.identity.sessions.liveness import Liveness
from billing_api.identity.sessions.schemas import SessionsEnded, SessionView
from core.clock import Clock
from core.errors import NotFound
from db.paging import Page, Paging
from db.reads import CustomerReads
from db.unit_of_work import Database

_CAUSE = "ended by its owner"


class SessionService:
    def __init__(self, database: Database, reads: CustomerReads, liveness: Liveness, clock: Clock) -> None:
        self._database = database
        self._reads = reads
        self._liveness = liveness
        self._clock = clock

    async def page(self, principal: Principal, paging: Paging) -> Page[SessionView]:
        now = {"now": self._clock()}
        found = await repository.OWN_LIVE.page(self._reads, principal.user_id, paging, values=now)
        return found.page(SessionView.read(row, current=row.id == principal.session_id) for row in found.rows)

    async def end(self, principal: Principal, session_id: UUID) -> None:
        """The session has ended when this returns. A second call is no error; NotFound for another user's session."""
        user_id = principal.user_id
        async with self._liveness.revocation() as revocation, self._database.as_customer(user_id) as tx:
            if not await repository.exists(tx, session_id):
                raise NotFound("you have no such session; list them with GET me/sessions")
            if await repository.end(tx, user_id, self._clock(), only=session_id):
                await tx.audit("session.revoked", "session", session_id, user_id=str(user_id), cause=_CAUSE)
            await revocation.fence(user_id)

    async def end_others(self, principal: Principal) -> SessionsEnded:
        """Ends all sessions except the one of this request."""
        user_id = principal.user_id
        async with self._liveness.revocation() as revocation, self._database.as_customer(user_id) as tx:
            ended = await repository.end(tx, user_id, self._clock(), but=principal.session_id)
            for session_id in ended:
                await tx.audit("session.revoked", "session", session_id, user_id=str(user_id), cause=_CAUSE)
            await revocation.fence(user_id)
        return SessionsEnded(len(ended))
