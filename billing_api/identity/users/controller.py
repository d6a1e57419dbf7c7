"""Users over HTTP, for staff; and an account's events, for its owner."""

from typing import Annotated
from uuid import UUID

from litestar import Controller, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

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

    @get("/", permission=Permission.USERS_VIEW, summary="Search by name or e-mail address, role, status")
    async def search_users(
        self,
        principal: NamedDependency[Principal],
        user_administration: NamedDependency[UserAdministration],
        paging: NamedDependency[Paging],
        q: Annotated[
            str | None, QueryParameter(max_length=200, description="a part of the address, the name or the company's")
        ] = None,
        email: FromQuery[str | None] = None,
        role: FromQuery[Role | None] = None,
        status: FromQuery[UserStatus | None] = None,
    ) -> Page[UserView]:
        return await user_administration.search(principal, paging, q=q, email=email, role=role, status=status)

    @get("/{user_id:uuid}", permission=Permission.USERS_VIEW, summary="One user")
    async def get_user(
        self,
        principal: NamedDependency[Principal],
        user_administration: NamedDependency[UserAdministration],
        user_id: FromPath[UUID],
    ) -> UserView:
        return await user_administration.one(principal, user_id)

    @post(
        "/{user_id:uuid}/suspend",
        permission=Permission.USERS_CHANGE,
        status_code=200,
        summary="Suspend a user; all sessions of the user end at once",
    )
    async def suspend_user(
        self,
        principal: NamedDependency[Principal],
        user_administration: NamedDependency[UserAdministration],
        user_id: FromPath[UUID],
        data: JSONBody[ReasonGiven],
    ) -> UserView:
        return await user_administration.suspend(principal, user_id, data.said)

    @post("/{user_id:uuid}/resume", permission=Permission.USERS_CHANGE, status_code=200, summary="Resume a user")
    async def resume_user(
        self,
        principal: NamedDependency[Principal],
        user_administration: NamedDependency[UserAdministration],
        user_id: FromPath[UUID],
        data: JSONBody[ReasonGiven],
    ) -> UserView:
        return await user_administration.resume(principal, user_id, data.said)

    @post(
        "/{user_id:uuid}/role",
        permission=Permission.USERS_CHANGE,
        step_up=True,
        status_code=200,
        summary="Give another role; needs a login within 5 minutes, and never for your own account",
    )
    async def set_role(
        self,
        principal: NamedDependency[Principal],
        user_administration: NamedDependency[UserAdministration],
        user_id: FromPath[UUID],
        data: JSONBody[RoleGiven],
    ) -> UserView:
        return await user_administration.give_role(principal, user_id, data)

    @post(
        "/{user_id:uuid}/impersonate",
        permission=Permission.USERS_IMPERSONATE,
        status_code=200,
        summary="A token for 5 minutes that reads what a customer sees and changes nothing",
    )
    async def impersonate_user(
        self,
        principal: NamedDependency[Principal],
        user_administration: NamedDependency[UserAdministration],
        user_id: FromPath[UUID],
        data: JSONBody[ReasonGiven],
    ) -> Response[Impersonation]:
        token = await user_administration.impersonate(principal, user_id, data.said)
        return Response(token, headers={"Cache-Control": "no-store"})


class AccountEventController(Controller):
    path = "/me/events"
    tags = ("accounts",)

    @get("/", permission=Permission.OWN_ACCOUNT, summary="What staff did to my account; the newest first")
    async def list_account_events(
        self,
        principal: NamedDependency[Principal],
        account_events: NamedDependency[AccountEvents],
        paging: NamedDependency[Paging],
    ) -> Page[AccountEvent]:
        return await account_events.page(principal, paging)
