"""Issuing of API keys, inside the caller's transaction: an owner creates one, or a panel is activated.

The limit of live keys for a license is enforced here, by a count and an insert under the license's lock. The caller
must hold that lock; so the argument is the locked license.
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
"""Live keys for one license."""

SECRET_CONTEXT: Final = "api_key:{}"  # noqa: S105  the sealing context, which names the place of a secret


class IssuedKey(NamedTuple):
    """`secret` is the plain text: show it once, never store it."""

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
    """Writes the key. `license_` must be locked by this transaction. Conflict where the limit is reached."""
    if await repository.count_live(tx, license_.id, now) >= MOST_LIVE:
        raise Conflict(f"this license has {MOST_LIVE} live API keys already; revoke one that you do not need")
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
    """A key that is not written yet. Without a license among the `columns` it is a platform key."""
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
    """Gives a locked key a new secret; the present one is valid for the overlap. Conflict where the key has ended.

    A second rotation within the overlap ends the first secret: at most two are valid at a time.
    """
    if not key.is_active or (key.expires_at is not None and key.expires_at <= now):
        raise Conflict("this API key is revoked or has expired; create a new one")
    secret = new_secret()
    key.previous_secret = key.secret if overlap else None
    key.previous_until = now + overlap if overlap else None
    key.secret = seal_secret(secrets, key.key_id, secret)
    key.key_hash = secrets.index.digest("api_secret", secret)
    return secret


def revoke(key: ApiKey) -> bool:
    """Permanent. False where it was revoked already."""
    if not key.is_active:
        return False
    key.is_active = False
    key.previous_secret = key.previous_until = None
    return True


def new_secret() -> str:
    """The prefix lets secret scanners find a leaked one in repositories and logs."""
    return f"nps_{new_token()}"


def seal_secret(secrets: Secrets, key_id: str, secret: str) -> bytes:
    return secrets.sealer.seal(secret.encode(), context=SECRET_CONTEXT.format(key_id))
