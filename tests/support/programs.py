"""Service accounts for tests, made over HTTP, and their tokens."""

from typing import Any, Final

import httpx

from tests.support.people import Headers

ACCOUNTS: Final = "/api/v1/admin/service-accounts"
TOKEN: Final = "/api/v1/oauth/token"


async def a_service_account(client: httpx.AsyncClient, admin: Headers, *scopes: str, **changes: Any) -> dict[str, Any]:
    """What the answer says, with the secret among it."""
    order = {"name": "export", "scopes": list(scopes) or ["licenses:read"]} | changes
    made = await client.post(ACCOUNTS, headers=admin, json=order)
    assert made.status_code == 201, made.text
    given: dict[str, Any] = made.json()
    return {**given["service_account"], "client_secret": given["client_secret"]}


def credentials(account: dict[str, Any], **more: str) -> dict[str, str]:
    """The form of a token request."""
    pair = {name: account[name] for name in ("client_id", "client_secret")}
    return {"grant_type": "client_credentials"} | pair | more


async def token_for(client: httpx.AsyncClient, account: dict[str, Any], **more: str) -> Headers:
    granted = await client.post(TOKEN, data=credentials(account, **more))
    assert granted.status_code == 200, granted.text
    return {"Authorization": f"Bearer {granted.json()['access_token']}"}
