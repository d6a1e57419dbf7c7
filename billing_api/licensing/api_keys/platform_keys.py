"""Platform keys: API keys of the seller's own NextPanel, which may ask about every license.

Administrators create, rotate and revoke them. An operator creates the first one of an installation
(`python -m billing_api create-platform-key`). A trigger writes each change to the outbox, so it is on its way to the
validators when the call is answered.

A file of its own beside service.py, because staff manage these keys, and they belong to no license.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from billing_api.access.networks import normalized
from billing_api.access.permissions import Principal
from billing_api.licensing.api_keys import repository
from billing_api.licensing.api_keys.issuing import IssuedKey, new_key, revoke, rotate
from billing_api.licensing.api_keys.schemas import (
    ChangePlatformKey,
    NewPlatformKey,
    PlatformKeySecret,
    PlatformKeyView,
    RotateApiKey,
)
from core.clock import Clock, rfc3339
from core.errors import Conflict, FieldError, InvalidInput
from core.licensing.record import Permission
from core.settings import Secrets
from db.idempotency import Once, Replayable
from db.paging import Page, Paging, fetch_page
from db.unit_of_work import Database, SystemTransaction


class PlatformKeyAdministration:
    def __init__(self, database: Database, secrets: Secrets, clock: Clock) -> None:
        self._database = database
        self._secrets = secrets
        self._clock = clock

    async def page(self, paging: Paging) -> Page[PlatformKeyView]:
        now = self._clock()
        async with self._database.as_system() as tx:
            found = await fetch_page(tx.session, repository.of_platform(), repository.NEWEST_FIRST, paging)
        return found.page(PlatformKeyView.of(row[0], now) for row in found.rows)

    async def create(self, principal: Principal, order: NewPlatformKey, once: Once) -> Replayable[PlatformKeySecret]:
        async with self._database.as_system(principal.user_id) as tx:
            if stored := await once.claim(tx, PlatformKeySecret):
                return stored
            made = await create_platform_key(
                tx,
                self._secrets,
                name=order.name,
                permissions=order.permissions,
                networks=order.networks,
                now=self._clock(),
                expires_at=order.expires_at,
            )
            view = PlatformKeyView.of(made.key, self._clock())
            return await once.record(tx, PlatformKeySecret(view, made.secret))

    async def change(self, principal: Principal, api_key_id: UUID, order: ChangePlatformKey) -> PlatformKeyView:
        """Sets what the order names; the same order twice changes nothing. Conflict where the key is revoked."""
        now, wanted = self._clock(), _wanted(order)
        async with self._database.as_system(principal.user_id) as tx:
            key = await repository.lock_of_platform(tx, api_key_id)
            if not key.is_active:
                raise Conflict("this platform key is revoked; create a new one")
            before = {name: getattr(key, name) for name in wanted}
            if before != wanted:
                for name, value in wanted.items():
                    setattr(key, name, value)
                told = {"key_id": key.key_id, "before": before, "after": wanted}
                await tx.audit("platform_key.changed", "api_key", key.id, **told)
        return PlatformKeyView.of(key, now)

    async def rotate(
        self, principal: Principal, api_key_id: UUID, order: RotateApiKey, once: Once
    ) -> Replayable[PlatformKeySecret]:
        now, overlap = self._clock(), timedelta(seconds=order.overlap_seconds)
        async with self._database.as_system(principal.user_id) as tx:
            key = await repository.lock_of_platform(tx, api_key_id)
            if stored := await once.claim(tx, PlatformKeySecret):
                return stored
            secret = rotate(self._secrets, key, overlap, now)
            await tx.audit(
                "platform_key.rotated",
                "api_key",
                key.id,
                key_id=key.key_id,
                name=key.name,
                overlap_seconds=order.overlap_seconds,
            )
            return await once.record(tx, PlatformKeySecret(PlatformKeyView.of(key, now), secret))

    async def revoke(self, principal: Principal, api_key_id: UUID) -> None:
        """Permanent and idempotent."""
        async with self._database.as_system(principal.user_id) as tx:
            key = await repository.lock_of_platform(tx, api_key_id)
            if revoke(key):
                await tx.audit("platform_key.revoked", "api_key", key.id, key_id=key.key_id, name=key.name)


async def create_platform_key(
    tx: SystemTransaction,
    secrets: Secrets,
    *,
    name: str,
    permissions: Collection[Permission],
    now: datetime,
    networks: Collection[str] = (),
    expires_at: datetime | None = None,
    **told: str,
) -> IssuedKey:
    """Writes the key. `told`: more details for the audit trail.

    InvalidInput where `expires_at` has passed, or a network is none.
    """
    if expires_at is not None and expires_at <= now:
        past = FieldError("expires_at", "is in the past")
        raise InvalidInput("expires_at is in the past; send a later instant", errors=(past,))
    allowed = normalized(networks)
    made = new_key(secrets, name=name, permissions=set(permissions), now=now, expires_at=expires_at, networks=allowed)
    key = made.key
    tx.session.add(key)
    await tx.session.flush()
    await tx.audit(
        "platform_key.created",
        "api_key",
        key.id,
        key_id=key.key_id,
        name=key.name,
        permissions=key.permissions,
        networks=key.networks,
        expires_at=None if key.expires_at is None else rfc3339(key.expires_at),
        **told,
    )
    return made


def _wanted(order: ChangePlatformKey) -> dict[str, Any]:
    """Columns and their new values, in the form in which they are stored."""
    wanted: dict[str, Any] = {}
    if order.name is not msgspec.UNSET:
        wanted["name"] = order.name
    if order.permissions is not msgspec.UNSET:
        wanted["permissions"] = sorted(set(order.permissions))
    if order.networks is not msgspec.UNSET:
        wanted["networks"] = normalized(order.networks)
    return wanted
