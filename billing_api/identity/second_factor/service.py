"""Enrollment of the second factor: a user sets up, confirms and removes an authenticator app.

A factor counts only after the app has shown a right code, so that a QR code which was not scanned locks nobody out. An
unconfirmed factor ends after 15 minutes. So a secret that was on a screen once and then forgotten never gives access.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from uuid import UUID

from billing_api.access.permissions import ONE_TIME_PASSWORD, PASSWORD, Principal
from billing_api.identity.second_factor import recovery_codes, repository, totp
from billing_api.identity.second_factor.notices import mail_change
from billing_api.identity.second_factor.rules import ENROLLMENT_LIFETIME
from billing_api.identity.second_factor.schemas import Enrollment, RecoveryCodes, SecondFactorState, TotpState
from billing_api.identity.second_factor.verification import fault_of_code
from billing_api.identity.sessions import repository as sessions
from billing_api.identity.sessions.liveness import Liveness
from core.clock import Clock
from core.errors import Conflict, FieldError, InvalidInput, InvalidSecondFactor, NotFound, Refusal, Unauthenticated
from core.settings import Secrets
from db.models.identity import TotpFactor
from db.unit_of_work import Database, SystemTransaction

WhenEnabled = Callable[[SystemTransaction, UUID, datetime], Awaitable[None]]
"""Called when a user switches the second factor on: credentials end more then. They know this room, not it them."""


class SecondFactorService:
    """The caller's own factor, in system transactions: a customer's transaction may not read secrets of sign-in."""

    def __init__(
        self, database: Database, *, liveness: Liveness, secrets: Secrets, clock: Clock, when_enabled: WhenEnabled
    ) -> None:
        self._database = database
        self._liveness = liveness
        self._secrets = secrets
        self._clock = clock
        self._when_enabled = when_enabled

    async def state(self, principal: Principal) -> SecondFactorState:
        async with self._database.as_system() as tx:
            factor = await repository.factor(tx, principal.user_id)
            left = await repository.recovery_codes_left(tx, principal.user_id)
        confirmed_at = None if factor is None else factor.confirmed_at
        return SecondFactorState(TotpState(confirmed_at is not None, confirmed_at), left)

    async def begin(self, principal: Principal, *, request_id: str) -> Enrollment:
        """A second call replaces the secret that was shown before: of two tabs the later one is valid."""
        now, secret = self._clock(), totp.new_secret()
        sealed = totp.sealed_secret(self._secrets.sealer, secret, user_id=principal.user_id)
        async with self._database.as_system(principal.user_id, request_id) as tx:
            user = await repository.active_user(tx, principal.user_id)
            if user is None:
                raise Unauthenticated("this account is not active any more: write to support")
            if not await repository.begin_factor(tx, user.id, sealed, now):
                raise Conflict("an authenticator app is active already: remove it first")
        uri = totp.enrollment_uri(secret, account=user.email)
        return Enrollment(uri, secret, totp.qr_svg(uri), now + ENROLLMENT_LIFETIME)

    async def confirm(self, principal: Principal, code: str, *, request_id: str) -> RecoveryCodes:
        """Ends the user's other sessions, and a pending change of address.

        They did not prove the factor, and an intruder may be behind them: the new mailbox could reset the password,
        which ends the factor.
        """
        speaking_for = self._database.as_system(principal.user_id, request_id)
        async with self._liveness.revocation() as revocation, speaking_for as tx:
            codes = await self._confirmed(tx, principal, code)
            if not isinstance(codes, Refusal):
                await revocation.fence(principal.user_id)
        if isinstance(codes, Refusal):  # raised after the commit: the failed try must count
            raise codes
        return RecoveryCodes(codes)

    async def remove(self, principal: Principal, *, request_id: str) -> None:
        async with self._database.as_system(principal.user_id, request_id) as tx:
            if not await repository.remove_factor(tx, principal.user_id):
                raise NotFound("there is no second factor to remove: nothing is left to do")
            await tx.audit("second_factor.disabled", "user", principal.user_id)
            await mail_change(tx, self._secrets, principal.user_id, "removed", self._clock())

    async def renew_recovery_codes(self, principal: Principal, *, request_id: str) -> RecoveryCodes:
        async with self._database.as_system(principal.user_id, request_id) as tx:
            factor = await repository.lock_factor(tx, principal.user_id)
            if factor is None or factor.confirmed_at is None:
                raise Conflict("recovery codes need an authenticator app: set one up first")
            codes = await self._new_codes(tx, factor)
            await tx.audit("second_factor.recovery_codes_renewed", "user", principal.user_id)
            await mail_change(tx, self._secrets, principal.user_id, "codes_renewed", self._clock())
        return RecoveryCodes(codes)

    async def _confirmed(self, tx: SystemTransaction, principal: Principal, code: str) -> list[str] | Refusal:
        now = self._clock()
        if await repository.lock_active_user(tx, principal.user_id) is None:
            return Unauthenticated("this account is not active any more: write to support")
        # Only an unconfirmed factor that has not expired can be confirmed.
        factor = await repository.lock_factor(tx, principal.user_id)
        if factor is not None and factor.confirmed_at is not None:
            return Conflict("this authenticator app is active already: nothing is left to do")
        if factor is None or now >= factor.started_at + ENROLLMENT_LIFETIME:
            return Conflict("there is nothing to confirm, or it took too long: begin with POST me/mfa/totp")
        # A wrong code is wrong input here, because the user is signed in; other refusals stay as they are.
        fault = await fault_of_code(tx, self._secrets, factor, code, now)
        if isinstance(fault, InvalidSecondFactor):
            return InvalidInput(
                "the code is wrong: check the phone's clock, then send the next code",
                errors=(FieldError("code", "wrong"),),
            )
        if fault is not None:
            return fault
        # Switch the factor on, and end what has not proved it.
        factor.confirmed_at = now
        await repository.set_session_amr(tx, principal.session_id, (PASSWORD, ONE_TIME_PASSWORD))
        ended = await sessions.end(tx, principal.user_id, now, but=principal.session_id)
        await self._when_enabled(tx, principal.user_id, now)
        await tx.audit("second_factor.enabled", "user", principal.user_id, sessions_ended=len(ended))
        await mail_change(tx, self._secrets, principal.user_id, "enabled", now)
        return await self._new_codes(tx, factor)

    async def _new_codes(self, tx: SystemTransaction, factor: TotpFactor) -> list[str]:
        codes = recovery_codes.new_set()
        hashes = [recovery_codes.stored_hash(code, factor.user_id, self._secrets.index) for code in codes]
        await repository.replace_recovery_codes(tx, factor.user_id, hashes)
        return codes
