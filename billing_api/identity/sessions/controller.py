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

    @get("/", permission=Permission.OWN_CREDENTIALS)
    async def list_sessions(
        self,
        principal: NamedDependency[Principal],
        sessions: NamedDependency[SessionService],
        paging: NamedDependency[Paging],
    ) -> Page[SessionView]:
        """List where I am signed in.

        The last used first. The sign-in of this request has `current: true`.
        """
        return await sessions.page(principal, paging)

    @delete("/{session_id:uuid}", permission=Permission.OWN_CREDENTIALS)
    async def end_session(
        self,
        principal: NamedDependency[Principal],
        sessions: NamedDependency[SessionService],
        session_id: FromPath[UUID],
    ) -> None:
        """Sign out somewhere else.

        Its access token and its refresh token are refused at once.
        """
        await sessions.end(principal, session_id)

    @post(
        "/revoke-others",
        permission=Permission.OWN_CREDENTIALS,
        status_code=200,
    )
    async def end_other_sessions(
        self, principal: NamedDependency[Principal], sessions: NamedDependency[SessionService]
    ) -> SessionsEnded:
        """Sign out everywhere but here.

        Every other sign-in of the account is refused at once.
        """
        return await sessions.end_others(principal)
