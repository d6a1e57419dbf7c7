"""API key use cases: owners list, create, rotate and revoke the keys of their licenses."""

from datetime import timedelta
from uuid import UUID

from billing_api.access.permissions import Principal
from billing_api.licensing.api_keys import repository
from billing_api.licensing.api_keys.issuing import issue_key, revoke, rotate
from billing_api.licensing.api_keys.schemas import ApiKeySecret, ApiKeyView, NewApiKey, RotateApiKey
from billing_api.licensing.licenses import own_repository as own_licenses
from billing_api.licensing.licenses import repository as licenses
from billing_api.notifications.mails.security_notices import Made, tell_of_api_key
from core.clock import Clock, rfc3339
from core.errors import FieldError, InvalidInput
from core.settings import Secrets
from db.idempotency import Once, Replayable
from db.models.licensing import ApiKey
from db.paging import Page, Paging
from db.reads import CustomerReads
from db.unit_of_work import Database, SystemTransaction


class ApiKeyService:
    """An owner's API keys. Creating or rotating a secret needs a step-up; revoking does not.

    A trigger writes each change to the outbox, so it is on its way to the validators when the call is answered. The
    owner gets a mail about each new secret. Only a system transaction may write mails, so those methods use one.
    """

    def __init__(self, database: Database, reads: CustomerReads, secrets: Secrets, clock: Clock) -> None:
        self._database = database
        self._reads = reads
        self._secrets = secrets
        self._clock = clock

    async def page(self, principal: Principal, license_id: UUID, paging: Paging) -> Page[ApiKeyView]:
        now = self._clock()
        ids = {"license_id": license_id}
        found = await repository.OF_LICENSE.page(self._reads, principal.user_id, paging, values=ids)
        if not found.total:
            await own_licenses.require(self._reads, principal.user_id, license_id)
        return found.page(ApiKeyView.of(row, now) for row in found.rows)

    async def create(
        self, principal: Principal, license_id: UUID, order: NewApiKey, once: Once
    ) -> Replayable[ApiKeySecret]:
        now = self._clock()
        if order.expires_at is not None and order.expires_at <= now:
            past = FieldError("expires_at", "is in the past")
            raise InvalidInput("expires_at is in the past; send a later instant", errors=(past,))
        async with self._database.as_system(principal.user_id) as tx:
            license_ = await licenses.lock_own(tx, license_id, principal.user_id)
            if stored := await once.claim(tx, ApiKeySecret):
                return stored
            made = await issue_key(
                tx,
                self._secrets,
                license_,
                name=order.name,
                permissions=set(order.permissions),
                now=now,
                expires_at=order.expires_at,
            )
            key = made.key
            await tx.audit(
                "license.api_key_created",
                "license",
                license_id,
                key_id=key.key_id,
                name=key.name,
                permissions=key.permissions,
                expires_at=None if key.expires_at is None else rfc3339(key.expires_at),
            )
            await self._tell(tx, key, "made")
            return await once.record(tx, ApiKeySecret(ApiKeyView.of(key, now), made.secret))

    async def rotate(
        self, principal: Principal, api_key_id: UUID, order: RotateApiKey, once: Once
    ) -> Replayable[ApiKeySecret]:
        now = self._clock()
        async with self._database.as_system(principal.user_id) as tx:
            key = await repository.lock_own(tx, api_key_id, principal.user_id)
            if stored := await once.claim(tx, ApiKeySecret):
                return stored
            secret = rotate(self._secrets, key, timedelta(seconds=order.overlap_seconds), now)
            await tx.audit(
                "license.api_key_rotated",
                "license",
                str(key.license_id),
                key_id=key.key_id,
                name=key.name,
                overlap_seconds=order.overlap_seconds,
            )
            await self._tell(tx, key, "rotated")
            return await once.record(tx, ApiKeySecret(ApiKeyView.of(key, now), secret))

    async def revoke(self, principal: Principal, api_key_id: UUID) -> None:
        """Permanent and idempotent. Needs no step-up, because revoking a key is how an owner stops harm."""
        async with self._database.as_customer(principal.user_id) as tx:
            key = await repository.lock(tx, api_key_id)
            if not revoke(key):
                return
            await tx.audit("license.api_key_revoked", "license", str(key.license_id), key_id=key.key_id, name=key.name)

    async def _tell(self, tx: SystemTransaction, key: ApiKey, how: Made) -> None:
        """Mails the owner. Only a platform key has no owner and no license."""
        if key.user_id is not None and key.license_id is not None:
            await tell_of_api_key(
                tx, self._secrets, key.user_id, self._clock(), key_id=key.key_id, license_id=key.license_id, how=how
            )
