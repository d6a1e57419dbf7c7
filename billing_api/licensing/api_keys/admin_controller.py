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

    @get("/", permission=Permission.PLATFORM_KEYS)
    async def list_platform_keys(
        self,
        platform_keys: NamedDependency[PlatformKeyAdministration],
        paging: NamedDependency[Paging],
    ) -> Page[PlatformKeyView]:
        """List the platform keys.

        Keys of our own NextPanel, which may ask about every license. The newest first, revoked ones too.
        """
        return await platform_keys.page(paging)

    @post(
        "/",
        permission=Permission.PLATFORM_KEYS,
        step_up=True,
    )
    async def create_platform_key(
        self,
        principal: NamedDependency[Principal],
        platform_keys: NamedDependency[PlatformKeyAdministration],
        once: NamedDependency[Once],
        data: JSONBody[NewPlatformKey],
    ) -> Response[PlatformKeySecret]:
        """Create a platform key.

        A key of our own NextPanel, which may ask about every license. Its secret is shown this once.
        """
        return reply(await platform_keys.create(principal, data, once), status_code=201)

    @patch(
        "/{api_key_id:uuid}",
        permission=Permission.PLATFORM_KEYS,
        step_up=True,
    )
    async def change_platform_key(
        self,
        principal: NamedDependency[Principal],
        platform_keys: NamedDependency[PlatformKeyAdministration],
        api_key_id: FromPath[UUID],
        data: JSONBody[ChangePlatformKey],
    ) -> PlatformKeyView:
        """Change a platform key.

        Its name, its permissions or its networks; what is absent stays.
        """
        return await platform_keys.change(principal, api_key_id, data)

    @post(
        "/{api_key_id:uuid}/rotate",
        permission=Permission.PLATFORM_KEYS,
        step_up=True,
        status_code=200,
    )
    async def rotate_platform_key(
        self,
        principal: NamedDependency[Principal],
        platform_keys: NamedDependency[PlatformKeyAdministration],
        once: NamedDependency[Once],
        api_key_id: FromPath[UUID],
        data: JSONBody[RotateApiKey | None] = None,
    ) -> Response[PlatformKeySecret]:
        """Replace the secret of a platform key.

        The new secret is shown this once. The present one works for `overlap_seconds` more (a day unless the body says
        otherwise).
        """
        order = data or RotateApiKey()
        return reply(await platform_keys.rotate(principal, api_key_id, order, once), status_code=200)

    @delete("/{api_key_id:uuid}", permission=Permission.PLATFORM_KEYS)
    async def revoke_platform_key(
        self,
        principal: NamedDependency[Principal],
        platform_keys: NamedDependency[PlatformKeyAdministration],
        api_key_id: FromPath[UUID],
    ) -> None:
        """Revoke a platform key.

        It is refused everywhere, at once. A revoked key cannot come back.
        """
        await platform_keys.revoke(principal, api_key_id)
