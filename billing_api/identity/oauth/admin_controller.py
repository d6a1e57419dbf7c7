"""Service accounts over HTTP, for administrators."""

from uuid import UUID

from litestar import Controller, Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from billing_api.access.permissions import Permission, Principal
from billing_api.identity.oauth.service_account_schemas import (
    ChangeServiceAccount,
    NewServiceAccount,
    RotateSecret,
    ServiceAccountSecret,
    ServiceAccountView,
)
from billing_api.identity.oauth.service_accounts import ServiceAccountAdministration
from billing_api.web.parameters import reply
from db.idempotency import Once
from db.paging import Page, Paging


class AdminServiceAccountController(Controller):
    path = "/admin/service-accounts"
    tags = ("admin",)

    @get("/", permission=Permission.SERVICE_ACCOUNTS)
    async def list_service_accounts(
        self,
        principal: NamedDependency[Principal],
        service_accounts: NamedDependency[ServiceAccountAdministration],
        paging: NamedDependency[Paging],
    ) -> Page[ServiceAccountView]:
        """Programs of our own, newest first, revoked ones too.

        With their last use and where it came from; without secrets.
        """
        return await service_accounts.page(principal, paging)

    @post("/", permission=Permission.SERVICE_ACCOUNTS, step_up=True)
    async def create_service_account(
        self,
        principal: NamedDependency[Principal],
        service_accounts: NamedDependency[ServiceAccountAdministration],
        once: NamedDependency[Once],
        data: JSONBody[NewServiceAccount],
    ) -> Response[ServiceAccountSecret]:
        """A new one, with scopes of staff; its secret is shown this once.

        It gets its access tokens from POST oauth/token, with `client_id` and `client_secret`.
        """
        return reply(await service_accounts.create(principal, data, once), status_code=201)

    @patch("/{service_account_id:uuid}", permission=Permission.SERVICE_ACCOUNTS, step_up=True)
    async def change_service_account(
        self,
        principal: NamedDependency[Principal],
        service_accounts: NamedDependency[ServiceAccountAdministration],
        service_account_id: FromPath[UUID],
        data: JSONBody[ChangeServiceAccount],
    ) -> ServiceAccountView:
        """Change its scopes or its networks; what is absent stays.

        What is taken away is refused with the next call, also to tokens that are out.
        """
        return await service_accounts.change(principal, service_account_id, data)

    @post("/{service_account_id:uuid}/rotate", permission=Permission.SERVICE_ACCOUNTS, step_up=True, status_code=200)
    async def rotate_service_account(
        self,
        principal: NamedDependency[Principal],
        service_accounts: NamedDependency[ServiceAccountAdministration],
        once: NamedDependency[Once],
        service_account_id: FromPath[UUID],
        data: JSONBody[RotateSecret | None] = None,
    ) -> Response[ServiceAccountSecret]:
        """A new secret, shown this once; the present one works for an overlap.

        Tokens that are out stay good for the rest of their quarter of an hour: revoke the account to end them.
        """
        order = data or RotateSecret()
        return reply(await service_accounts.rotate(principal, service_account_id, order, once), status_code=200)

    @delete("/{service_account_id:uuid}", permission=Permission.SERVICE_ACCOUNTS)
    async def revoke_service_account(
        self,
        principal: NamedDependency[Principal],
        service_accounts: NamedDependency[ServiceAccountAdministration],
        service_account_id: FromPath[UUID],
    ) -> None:
        """Revoke it, and its tokens, at once and for good.

        Twice is once. Its name is free again.
        """
        await service_accounts.revoke(principal, service_account_id)
