"""Activation: a one-time token from the license's owner turns the license key into an API key for one panel.

A license key is typed, mailed and pasted, so it is not enough for lasting access. The token is the owner's consent,
valid for a day and once.

One transaction, under the license's lock, marks the token as used, gives the panel an id, binds the license and writes
the API key. A process that dies before the COMMIT leaves nothing behind. One that dies between COMMIT and answer leaves
a used token, and an API key whose secret nobody has seen. A panel that sent an Idempotency-Key repeats the request and
gets the stored answer. Without one, the owner revokes the unused API key and makes another token.
"""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from billing_api.access.permissions import Principal
from billing_api.access.staff_reason import StaffReason
from billing_api.licensing.activation import repository
from billing_api.licensing.activation.schemas import (
    Activate,
    Activated,
    NewActivationToken,
)
from billing_api.licensing.api_keys.issuing import issue_key
from billing_api.licensing.licenses import repository as licenses
from billing_api.licensing.licenses.issuing import key_hash
from billing_api.licensing.licenses.schemas import (
    AdminLicenseView,
    LicenseView,
    effective_status,
)
from billing_api.notifications.mails.security_notices import tell_of_api_key
from core.clock import Clock
from core.counted import counted
from core.errors import (
    ActivationRefused,
    Conflict,
    FieldError,
    FingerprintMismatch,
    FingerprintRequired,
    InvalidInput,
    TooManyRequests,
)
from core.ids import new_id, new_token
from core.licensing import key as license_key
from core.licensing.record import PERMISSIONS
from core.licensing.state import Status
from core.settings import Secrets
from db.idempotency import Once, Replayable
from db.models.licensing import ActivationToken, FingerprintPolicy, License
from db.unit_of_work import Database, SystemTransaction

TOKEN_LIFETIME: Final = timedelta(hours=24)
MOST_TOKENS: Final = 5
"""Live tokens of a license. One more ends the oldest, so that an owner who lost five need not wait a day."""

MOST_RESETS: Final = 3
RESET_WINDOW: Final = timedelta(days=30)

_AT_ONCE: Final = 4
"""Concurrent activations of this process. They are unsigned, so they must leave connections for signed calls."""


class ActivationRequest(NamedTuple):
    """A panel's request. `body` and `idempotency_key` identify a retry of it."""

    order: Activate
    body: bytes
    idempotency_key: str | None


class ActivationService:
    def __init__(self, database: Database, secrets: Secrets, clock: Clock) -> None:
        self._database = database
        self._secrets = secrets
        self._clock = clock
        self._turn = asyncio.Semaphore(_AT_ONCE)

    async def make_token(self, principal: Principal, license_id: UUID, once: Once) -> Replayable[NewActivationToken]:
        """Needs no step-up: a token works only with the license key, and that is revealed only after a step-up."""
        now = self._clock()
        async with self._database.as_customer(principal.user_id) as tx:
            license_ = await licenses.lock(tx, license_id)
            if stored := await once.claim(tx, NewActivationToken):
                return stored
            await repository.end_oldest_tokens(tx, license_id, now, keep=MOST_TOKENS - 1)
            made = NewActivationToken(f"npt_{new_token()}", now + TOKEN_LIFETIME)
            tx.session.add(
                ActivationToken(
                    token_hash=self._token_hash(made.activation_token),
                    license_id=license_id,
                    user_id=license_.user_id,
                    expires_at=made.expires_at,
                    created_at=now,
                )
            )
            await tx.audit("license.activation_token_created", "license", license_id)
            return await once.record(tx, made)

    async def activate(self, request: ActivationRequest) -> Replayable[Activated]:
        """A wrong key, and a token that is wrong, used, expired or another license's, get one and the same answer."""
        # 1. Check the key's form, without the database.
        key = license_key.parse(request.order.license_key, self._secrets.license_checksum_key)
        if key is None:
            mistyped = FieldError("license_key", "is not a license key: a symbol is wrong or missing")
            raise InvalidInput("this is not a license key; check it symbol by symbol", errors=(mistyped,))
        token_hash = self._token_hash(request.order.activation_token)
        async with self._turn, self._database.as_system() as tx:
            # 2. Lock the license. A used token is accepted only from a request that may get a stored answer.
            repeats = request.idempotency_key is not None
            license_ = await repository.lock_license(tx, key_hash(self._secrets, key), token_hash, used_too=repeats)
            if license_ is None:
                raise _refused()
            # 3. Answer a retry with the stored answer.
            once = self._once(request, token_hash, license_)
            if stored := await once.claim(tx, Activated):
                return stored
            # 4. Use the token, bind the license and write the API key.
            now = self._clock()
            if not await repository.use_token(tx, token_hash, now):
                raise _refused()
            _bind(license_, request.order.fingerprint, now)
            return await once.record(tx, await self._name_panel(tx, license_, now))

    async def reset_fingerprint(self, principal: Principal, license_id: UUID) -> LicenseView:
        """Frees the license for another panel. The old panel's API key stays valid until its owner revokes it."""
        now = self._clock()
        async with self._database.as_customer(principal.user_id) as tx:
            license_ = await licenses.lock(tx, license_id)
            if license_.fingerprint is not None:
                resets = await repository.own_resets(tx, license_id, now - RESET_WINDOW)
                if len(resets) >= MOST_RESETS:
                    raise _too_many_resets(resets, now)
                _release(license_, now)
                await tx.audit("license.fingerprint_reset", "license", license_id)
                await tx.session.flush()
            row = await licenses.one(tx, license_id)
        return LicenseView.of(row, now)

    async def _name_panel(self, tx: SystemTransaction, license_: License, now: datetime) -> Activated:
        instance_id = new_id()
        made = await issue_key(
            tx,
            self._secrets,
            license_,
            name=f"panel {instance_id}",
            permissions=PERMISSIONS,
            now=now,
            instance_id=instance_id,
        )
        facts: Mapping[str, str] = {"key_id": made.key.key_id, "instance_id": str(instance_id)}
        await tx.audit("license.activated", "license", license_.id, **facts)
        await tell_of_api_key(
            tx,
            self._secrets,
            license_.user_id,
            now,
            key_id=made.key.key_id,
            license_id=license_.id,
            how="activated",
        )
        return Activated(
            license_id=license_.id,
            instance_id=instance_id,
            key_id=made.key.key_id,
            secret=made.secret,
            permissions=sorted(PERMISSIONS),
            fingerprint=license_.fingerprint,
        )

    def _once(self, request: ActivationRequest, token_hash: bytes, license_: License) -> Once:
        """The idempotency key's scope is the token: only a client that knows the token can get its answer again."""
        return Once(
            self._secrets.sealer,
            scope=f"activation {token_hash.hex()}",
            key=request.idempotency_key,
            body=request.body,
            user_id=license_.user_id,
        )

    def _token_hash(self, token: str) -> bytes:
        return self._secrets.index.digest("activation_token", token)


class ActivationAdministration:
    """Fingerprint resets by staff: without a limit, but always with a reason."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def reset_fingerprint(self, principal: Principal, license_id: UUID, said: StaffReason) -> AdminLicenseView:
        now = self._clock()
        async with self._database.as_staff(principal.user_id) as tx:
            license_ = await licenses.lock(tx, license_id)
            if license_.fingerprint is not None:
                _release(license_, now)
                await tx.audit("license.fingerprint_reset", "license", license_id, **said.detail)
                await tx.session.flush()
            row = await licenses.one_for_staff(tx, license_id)
        return AdminLicenseView.of_row(row, now)


def _bind(license_: License, fingerprint: str | None, now: datetime) -> None:
    """Binds the license to the panel. A refusal leaves the token usable, so that the cause can be corrected.

    A license that is bound, or whose policy requires a fingerprint, gives no API key to a panel that sends none. The
    bound fingerprint is never disclosed.
    """
    status = effective_status(license_, now)
    if status is not Status.ACTIVE:
        raise Conflict(f"the license is {status}; make it active, then activate again with the same token")
    if fingerprint is None:
        if license_.fingerprint is None and license_.fingerprint_policy is FingerprintPolicy.NONE:
            return
        raise FingerprintRequired(
            "the license needs the panel's fingerprint; send it, with the same token",
            errors=(FieldError("fingerprint", "is required for this license"),),
        )
    if license_.fingerprint not in {None, fingerprint}:
        raise FingerprintMismatch(
            "the license is bound to another fingerprint; its owner must reset it (reset-fingerprint), then activate "
            "again with the same token"
        )
    license_.fingerprint = fingerprint
    license_.updated_at = now


def _release(license_: License, now: datetime) -> None:
    license_.fingerprint = None
    license_.updated_at = now


def _refused() -> ActivationRefused:
    return ActivationRefused("the token does not belong to the license key, or was used or has expired; make a new one")


def _too_many_resets(resets: list[datetime], now: datetime) -> TooManyRequests:
    free_again = resets[-MOST_RESETS] + RESET_WINDOW
    return TooManyRequests(
        f"only {MOST_RESETS} resets are allowed within {counted(RESET_WINDOW.days, 'day')}; wait, or ask support to"
        " reset it",
        retry_after=max(1, round((free_again - now).total_seconds())),
    )
