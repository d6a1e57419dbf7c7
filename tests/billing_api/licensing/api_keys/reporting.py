"""Usage reports that are signed with a key, for tests of who may sign."""

import json

import httpx

from billing_api.server.wiring.services import Services
from core.clock import unix_time
from core.crypto.signature import HEADER, sign
from core.ids import new_id
from tests.billing_api.conftest import Client

_PATH = "/api/v1/billing/usage"


async def reported(client: Client, license_key: str, key_id: str, secret: str) -> int:
    """The status of a usage report that is signed with the key."""
    return (await report(client, license_key, key_id, secret)).status_code


async def report(client: Client, license_key: str, key_id: str, secret: str, **more: str) -> httpx.Response:
    """The same, whole. `more`: further headers."""
    content = {"license_key": license_key, "resource": "databases", "action": "created", "count": 1}
    body, name = json.dumps(content).encode(), new_id().hex
    now = unix_time()
    signature = sign(key_id, secret, method="POST", target=_PATH, body=body, now=now, idempotency_key=name)
    headers = {HEADER: signature, "Idempotency-Key": name, "Content-Type": "application/json"}
    return await client.post(_PATH, content=body, headers=headers | more)


def forget(services: Services) -> None:
    """As after KNOWN_FOR: the checker asks the database again."""
    services.licensing.signature_checker._known.clear()
