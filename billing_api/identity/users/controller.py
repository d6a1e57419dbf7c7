"""Users over HTTP, for staff; and an account's events, for its owner."""

from typing import Annotated
from uuid import UUID

from litestar import Controller, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from billing_api.access.permissions import Permission, Principal
from billing_api.identity.users.schemas import (
    AccountEvent,
    Impersonation,
    RoleGiven,
    UserStatus,
    UserView,
)
from billing_api.identity.users.service import AccountEvents, UserAdministration
from billing_api.web.parameters import ReasonGiven
from db.models.identity import Role
from db.paging import Page, Paging


class AdminUserController(Controller):
    path = "/admin/users"
    tags = ("admin",)

    @get("/", permission=Permission.USERS_VIEW)
    async def search_users(
        self,
        principal: NamedDependency[Principal],
        user_administration: NamedDependency[UserAdministration],
        paging: NamedDependency[Paging],
        q: Annotated[
            str | None, QueryParameter(max_length=200, description="A part of the address, the name or the company's.")
        ] = None,
        email: Annotated[str | None, QueryParameter(description="The user with exactly this address.")] = None,
        role: Annotated[Role | None, QueryParameter(description="Users with this role.")] = None,
        status: Annotated[UserStatus | None, QueryParameter(description="Users in this state.")] = None,
    ) -> Page[UserView]:
        """Search users.

        Every condition that is given must hold. The newest first.
        """
        return await user_administration.search(principal, paging, q=q, email=email, role=role, status=status)

    @get("/{user_id:uuid}", permission=Permission.USERS_VIEW)
    async def get_user(
        self,
        principal: NamedDependency[Principal],
        user_administration: NamedDependency[UserAdministration],
        user_id: FromPath[UUID],
    ) -> UserView:
        """Read a user.

        With address, role and state.
        """
        return await user_administration.one(principal, user_id)

    @post(
        "/{user_id:uuid}/suspend",
        permission=Permission.USERS_CHANGE,
        status_code=200,
    )
    async def suspend_user(
        self,
        principal: NamedDependency[Principal],
        user_administration: NamedDependency[UserAdministration],
        user_id: FromPath[UUID],
        data: JSONBody[ReasonGiven],
    ) -> UserView:
        """Suspend a user.

        The user is signed out everywhere when this returns. Licenses go on; suspend them where they are to stop. Not
        for one's own account.
        """
        return await user_administration.suspend(principal, user_id, data.said)

    @post("/{user_id:uuid}/resume", permission=Permission.USERS_CHANGE, status_code=200)
    async def resume_user(
        self,
        principal: NamedDependency[Principal],
        user_administration: NamedDependency[UserAdministration],
        user_id: FromPath[UUID],
        data: JSONBody[ReasonGiven],
    ) -> UserView:
        """Resume a suspended user.

        The user can sign in again; sessions that were ended stay ended.
        """
        return await user_administration.resume(principal, user_id, data.said)

    @post(
        "/{user_id:uuid}/role",
        permission=Permission.USERS_CHANGE,
        step_up=True,
        status_code=200,
    )
    async def set_role(
        self,
        principal: NamedDependency[Principal],
        user_administration: NamedDependency[UserAdministration],
        user_id: FromPath[UUID],
        data: JSONBody[RoleGiven],
    ) -> UserView:
        """Give a user another role.

        Staff must have a verified address. Never for one's own account. The user's sessions go on, but access tokens
        with the old role have to be refreshed.
        """
        return await user_administration.give_role(principal, user_id, data)

    @post(
        "/{user_id:uuid}/impersonate",
        permission=Permission.USERS_IMPERSONATE,
        status_code=200,
    )
    async def impersonate_user(
        self,
        principal: NamedDependency[Principal],
        user_administration: NamedDependency[UserAdministration],
        user_id: FromPath[UUID],
        data: JSONBody[ReasonGiven],
    ) -> Response[Impersonation]:
        """See what a customer sees.

        The answer holds an access token for 5 minutes that reads what the customer may read, and changes nothing. It is
        recorded, and the customer can read the message. Active customers only, never staff.
        """
        token = await user_administration.impersonate(principal, user_id, data.said)
        return Response(token, headers={"Cache-Control": "no-store"})


class AccountEventController(Controller):
    path = "/me/events"
    tags = ("accounts",)

    @get("/", permission=Permission.OWN_ACCOUNT)
    async def list_account_events(
        self,
        principal: NamedDependency[Principal],
        account_events: NamedDependency[AccountEvents],
        paging: NamedDependency[Paging],
    ) -> Page[AccountEvent]:
        """List what staff did to my account.

        The newest first, with what staff wrote to me about it.
        """
        return await account_events.page(principal, paging)
