"""Activations: a token that somebody at the license's account made turns its key into an API key for one panel.

A license key is typed, mailed and pasted, so it alone opens nothing that lasts. The token is the owner's consent: good
for a day, once. What happens to both is one transaction under the license's lock: the token is spent, the panel named
and bound, its key written. Killed before the COMMIT, nothing has happened; killed after it and before the answer, the
token is spent and a key is live whose secret nobody has seen. A panel that sent an Idempotency-Key asks again and gets
the sealed answer; without one, its owner revokes the key that was never used, and makes another token.
"""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from billing_api.access.permissions import Principal
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
"""Live ones of a license. One more ends the oldest: an owner who lost five must not wait for a day."""

MOST_RESETS: Final = 3
RESET_WINDOW: Final = timedelta(days=30)

_AT_ONCE: Final = 4
"""Activations of this process: nobody signs them, and a storm of them must leave connections to those who sign."""


class Attempt(NamedTuple):
    """A panel's request: what it says, and the bytes and the key that tell a repetition of it."""

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
        """No fresh login is asked for: a token is of use only with the license's key, which is shown after one."""
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

    async def activate(self, attempt: Attempt) -> Replayable[Activated]:
        """One answer for a wrong key, a wrong token, one that was used, is too old or is another license's."""
        key = license_key.parse(attempt.order.license_key, self._secrets.license_checksum_key)
        if key is None:
            mistyped = FieldError("license_key", "is no license key: a symbol is mistyped or missing")
            raise InvalidInput("this is no license key", errors=(mistyped,))
        token_hash = self._token_hash(attempt.order.activation_token)
        async with self._turn, self._database.as_system() as tx:
            # Only who may be given an answer again waits for the license with a token that is used up.
            repeats = attempt.idempotency_key is not None
            license_ = await repository.opened_by(tx, key_hash(self._secrets, key), token_hash, used_too=repeats)
            if license_ is None:
                raise _refused()
            once = self._once(attempt, token_hash, license_)
            if stored := await once.claim(tx, Activated):
                return stored
            now = self._clock()
            if not await repository.spend(tx, token_hash, now):
                raise _refused()
            _bind(license_, attempt.order.fingerprint, now)
            return await once.record(tx, await self._name_panel(tx, license_, now))

    async def reset_fingerprint(self, principal: Principal, license_id: UUID) -> LicenseView:
        """The license is free for another panel. The old panel's API key stays until its owner revokes it."""
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
            _, plan = await licenses.one(tx, license_id)
        return LicenseView.of(license_, plan, now)

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

    def _once(self, attempt: Attempt, token_hash: bytes, license_: License) -> Once:
        """Its scope is the token, so an answer is given again to nobody but who knows the token it was made for."""
        return Once(
            self._secrets.sealer,
            scope=f"activation {token_hash.hex()}",
            key=attempt.idempotency_key,
            body=attempt.body,
            user_id=license_.user_id,
        )

    def _token_hash(self, token: str) -> bytes:
        return self._secrets.index.digest("activation_token", token)


class ActivationAdministration:
    """Staff: as often as there is a reason for it."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def reset_fingerprint(self, principal: Principal, license_id: UUID, reason: str) -> AdminLicenseView:
        now = self._clock()
        async with self._database.as_staff(principal.user_id) as tx:
            license_ = await licenses.lock(tx, license_id)
            if license_.fingerprint is not None:
                _release(license_, now)
                await tx.audit("license.fingerprint_reset", "license", license_id, reason=reason)
                await tx.session.flush()
            row = await licenses.found(tx, license_id)
        return AdminLicenseView.of_row(*row, now)


def _bind(license_: License, fingerprint: str | None, now: datetime) -> None:
    """A refusal here leaves the token as it was: what stands in the way can be put right and tried again.

    A license that is bound, or that may be used with a fingerprint only, gives no key to a panel that does not tell
    its own. The one it is bound to is never told.
    """
    status = effective_status(license_, now)
    if status is not Status.ACTIVE:
        raise Conflict(f"the license is {status}; the token is not used up")
    if fingerprint is None:
        if license_.fingerprint is None and license_.fingerprint_policy is FingerprintPolicy.NONE:
            return
        raise FingerprintRequired(
            "send the panel's fingerprint: the license is bound to one, or needs one; the token is not used up",
            errors=(FieldError("fingerprint", "is required for this license"),),
        )
    if license_.fingerprint not in {None, fingerprint}:
        raise FingerprintMismatch(
            "the license is bound to another fingerprint; its owner may reset it (reset-fingerprint), and the token, "
            "which is not used up, works then"
        )
    license_.fingerprint = fingerprint
    license_.updated_at = now


def _release(license_: License, now: datetime) -> None:
    license_.fingerprint = None
    license_.updated_at = now


def _refused() -> ActivationRefused:
    return ActivationRefused("key and token do not belong together, or the token is used up: make a new token")


def _too_many_resets(resets: list[datetime], now: datetime) -> TooManyRequests:
    free_again = resets[-MOST_RESETS] + RESET_WINDOW
    return TooManyRequests(
        f"{MOST_RESETS} resets within {RESET_WINDOW.days} days; support can reset it as well",
        retry_after=max(1, round((free_again - now).total_seconds())),
    )
