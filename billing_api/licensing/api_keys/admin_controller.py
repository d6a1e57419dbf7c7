"""Platform keys over HTTP, for administrators."""

from uuid import UUID

from litestar import Controller, Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from billing_api.access.permissions import Permission, Principal
from billing_api.licensing.api_keys.platform_keys import PlatformKeyAdministration
from billing_api.licensing.api_keys.schemas import (
    ChangePlatformKey,
    NewPlatformKey,
    PlatformKeySecret,
    PlatformKeyView,
    RotateApiKey,
)
from billing_api.web.parameters import reply
from db.idempotency import Once
from db.paging import Page, Paging


class AdminPlatformKeyController(Controller):
    path = "/admin/platform-keys"
    tags = ("admin",)

    @get("/", permission=Permission.PLATFORM_KEYS, summary="Keys of our own NextPanel, newest first, revoked ones too")
    async def list_platform_keys(
        self,
        platform_keys: NamedDependency[PlatformKeyAdministration],
        paging: NamedDependency[Paging],
    ) -> Page[PlatformKeyView]:
        return await platform_keys.page(paging)

    @post(
        "/",
        permission=Permission.PLATFORM_KEYS,
        step_up=True,
        summary="A new key that may ask about every license; its secret is shown this once",
    )
    async def create_platform_key(
        self,
        principal: NamedDependency[Principal],
        platform_keys: NamedDependency[PlatformKeyAdministration],
        once: NamedDependency[Once],
        data: JSONBody[NewPlatformKey],
    ) -> Response[PlatformKeySecret]:
        return reply(await platform_keys.create(principal, data, once), status_code=201)

    @patch(
        "/{api_key_id:uuid}",
        permission=Permission.PLATFORM_KEYS,
        step_up=True,
        summary="Change its name, its permissions or its networks; what is absent stays",
    )
    async def change_platform_key(
        self,
        principal: NamedDependency[Principal],
        platform_keys: NamedDependency[PlatformKeyAdministration],
        api_key_id: FromPath[UUID],
        data: JSONBody[ChangePlatformKey],
    ) -> PlatformKeyView:
        return await platform_keys.change(principal, api_key_id, data)

    @post(
        "/{api_key_id:uuid}/rotate",
        permission=Permission.PLATFORM_KEYS,
        step_up=True,
        status_code=200,
        summary="A new secret; the present one works for an overlap",
    )
    async def rotate_platform_key(
        self,
        principal: NamedDependency[Principal],
        platform_keys: NamedDependency[PlatformKeyAdministration],
        once: NamedDependency[Once],
        api_key_id: FromPath[UUID],
        data: JSONBody[RotateApiKey | None] = None,
    ) -> Response[PlatformKeySecret]:
        order = data or RotateApiKey()
        return reply(await platform_keys.rotate(principal, api_key_id, order, once), status_code=200)

    @delete("/{api_key_id:uuid}", permission=Permission.PLATFORM_KEYS, summary="Refused everywhere from now on")
    async def revoke_platform_key(
        self,
        principal: NamedDependency[Principal],
        platform_keys: NamedDependency[PlatformKeyAdministration],
        api_key_id: FromPath[UUID],
    ) -> None:
        await platform_keys.revoke(principal, api_key_id)
