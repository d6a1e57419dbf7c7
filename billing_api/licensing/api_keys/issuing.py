"""Making an API key, inside of somebody else's transaction: an owner asks for one, or a panel is activated.

The bound on how many keys of a license are live is kept here, by count and insert under the license's own lock. Code
that makes a key must hold that lock, hence the parameter is the locked license.
"""

import secrets as randomness
from collections.abc import Collection
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from billing_api.licensing.api_keys import repository
from core.errors import Conflict
from core.ids import new_id, new_token
from core.licensing.record import Permission
from core.settings import Secrets
from db.models.licensing import ApiKey, License
from db.unit_of_work import Transaction

MOST_LIVE: Final = 10
"""Live keys of one license."""

SECRET_CONTEXT: Final = "api_key:{}"  # noqa: S105  names the place a sealed secret belongs to


class IssuedKey(NamedTuple):
    """`secret` is the plain text: to be shown once, never stored."""

    key: ApiKey
    secret: str


async def issue_key(
    tx: Transaction,
    secrets: Secrets,
    license_: License,
    *,
    name: str,
    permissions: Collection[Permission],
    now: datetime,
    expires_at: datetime | None = None,
    instance_id: UUID | None = None,
) -> IssuedKey:
    """`license_` is locked by this transaction. Conflict where as many keys are live as there may be."""
    if await repository.count_live(tx, license_.id, now) >= MOST_LIVE:
        raise Conflict(f"{MOST_LIVE} API keys of this license are live already; revoke one that is not needed")
    key_id, secret = f"npk_{randomness.token_hex(8)}", new_secret()
    key = ApiKey(
        id=new_id(),
        user_id=license_.user_id,
        license_id=license_.id,
        key_id=key_id,
        key_hash=secrets.index.digest("api_secret", secret),
        secret=seal_secret(secrets, key_id, secret),
        name=name,
        permissions=sorted(permissions),
        instance_id=instance_id,
        expires_at=expires_at,
        is_active=True,
        created_at=now,
    )
    tx.session.add(key)
    await tx.session.flush()
    return IssuedKey(key, secret)


def new_secret() -> str:
    """Its prefix lets scanners of repositories and logs find one that leaked."""
    return f"nps_{new_token()}"


def seal_secret(secrets: Secrets, key_id: str, secret: str) -> bytes:
    return secrets.sealer.seal(secret.encode(), context=SECRET_CONTEXT.format(key_id))
