"""API key routes, for the owner of the license."""

from uuid import UUID

from litestar import Controller, Response, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from billing_api.access.permissions import Permission, Principal
from billing_api.licensing.api_keys.schemas import (
    ApiKeySecret,
    ApiKeyView,
    NewApiKey,
    RotateApiKey,
)
from billing_api.licensing.api_keys.service import ApiKeyService
from billing_api.web.parameters import (
    reply,
)
from db.idempotency import Once
from db.paging import Page, Paging


class LicenseApiKeyController(Controller):
    path = "/licenses/{license_id:uuid}/api-keys"
    tags = ("api keys",)

    @get("/", permission=Permission.OWN_CREDENTIALS)
    async def list_api_keys(
        self,
        principal: NamedDependency[Principal],
        api_keys: NamedDependency[ApiKeyService],
        paging: NamedDependency[Paging],
        license_id: FromPath[UUID],
    ) -> Page[ApiKeyView]:
        """List the API keys of my license.

        The newest first, revoked ones too, without their secrets.
        """
        return await api_keys.page(principal, license_id, paging)

    @post(
        "/",
        permission=Permission.OWN_CREDENTIALS,
        step_up=True,
    )
    async def create_api_key(
        self,
        principal: NamedDependency[Principal],
        api_keys: NamedDependency[ApiKeyService],
        once: NamedDependency[Once],
        license_id: FromPath[UUID],
        data: JSONBody[NewApiKey],
    ) -> Response[ApiKeySecret]:
        """Create an API key for my license.

        Its secret is shown only now. A panel usually gets its own key by activation instead.
        """
        return reply(await api_keys.create(principal, license_id, data, once), status_code=201)


class ApiKeyController(Controller):
    path = "/api-keys"
    tags = ("api keys",)

    @post(
        "/{api_key_id:uuid}/rotate",
        permission=Permission.OWN_CREDENTIALS,
        step_up=True,
        status_code=200,
    )
    async def rotate_api_key(
        self,
        principal: NamedDependency[Principal],
        api_keys: NamedDependency[ApiKeyService],
        once: NamedDependency[Once],
        api_key_id: FromPath[UUID],
        data: JSONBody[RotateApiKey | None] = None,
    ) -> Response[ApiKeySecret]:
        """Replace the secret of an API key.

        The new secret is shown only now. The present one works for `overlap_seconds` more (a day unless the body says
        otherwise).
        """
        return reply(await api_keys.rotate(principal, api_key_id, data or RotateApiKey(), once), status_code=200)

    @delete("/{api_key_id:uuid}", permission=Permission.OWN_CREDENTIALS)
    async def revoke_api_key(
        self,
        principal: NamedDependency[Principal],
        api_keys: NamedDependency[ApiKeyService],
        api_key_id: FromPath[UUID],
    ) -> None:
        """Revoke an API key.

        It is refused everywhere, at once. A revoked key cannot come back.
        """
        await api_keys.revoke(principal, api_key_id)
