"""Sessions over HTTP: the user's own sign-ins."""

from uuid import UUID

from litestar import Controller, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from billing_api.access.permissions import Permission, Principal
from billing_api.identity.sessions.schemas import SessionsEnded, SessionView
from billing_api.identity.sessions.service import SessionService
from db.paging import Page, Paging


class SessionController(Controller):
    path = "/me/sessions"
    tags = ("accounts",)

    @get("/", permission=Permission.OWN_CREDENTIALS, summary="Where I am signed in; the last used first")
    async def list_sessions(
        self,
        principal: NamedDependency[Principal],
        sessions: NamedDependency[SessionService],
        paging: NamedDependency[Paging],
    ) -> Page[SessionView]:
        return await sessions.page(principal, paging)

    @delete("/{session_id:uuid}", permission=Permission.OWN_CREDENTIALS, summary="Sign out there, at once")
    async def end_session(
        self,
        principal: NamedDependency[Principal],
        sessions: NamedDependency[SessionService],
        session_id: FromPath[UUID],
    ) -> None:
        await sessions.end(principal, session_id)

    @post(
        "/revoke-others",
        permission=Permission.OWN_CREDENTIALS,
        status_code=200,
        summary="Sign out everywhere but here, at once",
    )
    async def end_other_sessions(
        self, principal: NamedDependency[Principal], sessions: NamedDependency[SessionService]
    ) -> SessionsEnded:
        return await sessions.end_others(principal)
