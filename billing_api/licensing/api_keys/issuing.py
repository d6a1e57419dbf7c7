"""Making an API key, inside of somebody else's transaction: an owner asks for one, or a panel is activated.

The bound on how many keys of a license are live is kept here, by count and insert under the license's own lock. Code
that makes a key must hold that lock, hence the parameter is the locked license.
"""

import secrets as randomness
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
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
    made = new_key(
        secrets,
        name=name,
        permissions=permissions,
        now=now,
        user_id=license_.user_id,
        license_id=license_.id,
        instance_id=instance_id,
        expires_at=expires_at,
    )
    tx.session.add(made.key)
    await tx.session.flush()
    return made


def new_key(
    secrets: Secrets, *, name: str, permissions: Collection[Permission], now: datetime, **columns: Any
) -> IssuedKey:
    """A row that has not been written yet. Without a license among the `columns` it is the platform's."""
    key_id, secret = f"npk_{randomness.token_hex(8)}", new_secret()
    key = ApiKey(
        id=new_id(),
        key_id=key_id,
        key_hash=secrets.index.digest("api_secret", secret),
        secret=seal_secret(secrets, key_id, secret),
        name=name,
        permissions=sorted(permissions),
        is_active=True,
        created_at=now,
        **columns,
    )
    return IssuedKey(key, secret)


def rotate(secrets: Secrets, key: ApiKey, overlap: timedelta, now: datetime) -> str:
    """Gives a locked key a new secret; the present one holds for the overlap. Conflict where the key has ended.

    A second rotation within the overlap ends the first secret: two hold at a time, never three.
    """
    if not key.is_active or (key.expires_at is not None and key.expires_at <= now):
        raise Conflict("this API key is revoked or has expired; make a new one")
    secret = new_secret()
    key.previous_secret = key.secret if overlap else None
    key.previous_until = now + overlap if overlap else None
    key.secret = seal_secret(secrets, key.key_id, secret)
    key.key_hash = secrets.index.digest("api_secret", secret)
    return secret


def revoke(key: ApiKey) -> bool:
    """For good. False where it was revoked already."""
    if not key.is_active:
        return False
    key.is_active = False
    key.previous_secret = key.previous_until = None
    return True


def new_secret() -> str:
    """Its prefix lets scanners of repositories and logs find one that leaked."""
    return f"nps_{new_token()}"


def seal_secret(secrets: Secrets, key_id: str, secret: str) -> bytes:
    return secrets.sealer.seal(secret.encode(), context=SECRET_CONTEXT.format(key_id))
