"""A user's own second factor: set up, confirmed, taken away.

A factor counts from the moment its owner has shown that the app makes the right codes. So a QR code that
was not scanned locks nobody out. An unconfirmed factor ends after a quarter of an hour, so that a secret which was on
a screen once and then forgotten never becomes a key.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from uuid import UUID

from billing_api.access.permissions import (
    ONE_TIME_PASSWORD,
    PASSWORD,
    Principal,
)
from billing_api.identity.second_factor import recovery_codes, repository, totp
from billing_api.identity.second_factor.rules import ENROLLMENT_LIFETIME
from billing_api.identity.second_factor.schemas import (
    Enrolment,
    RecoveryCodes,
    SecondFactorState,
    TotpState,
)
from billing_api.identity.second_factor.telling import tell_of_change
from billing_api.identity.second_factor.verifying import fault_of_code
from billing_api.identity.sessions import repository as sessions
from billing_api.identity.sessions.liveness import Liveness
from core.clock import Clock
from core.errors import Conflict, FieldError, InvalidInput, InvalidSecondFactor, NotFound, Refusal, Unauthenticated
from core.settings import Secrets
from db.models.identity import TotpFactor
from db.unit_of_work import Database, SystemTransaction

AlsoEnds = Callable[[SystemTransaction, UUID, datetime], Awaitable[None]]
"""What else ends for a user when the second factor is switched on; credentials say it, for they know this room."""


class SecondFactorService:
    """The caller's own factor, in the application's name: no customer's session reads secrets of sign-in."""

    def __init__(
        self, database: Database, *, liveness: Liveness, secrets: Secrets, clock: Clock, when_enabled: AlsoEnds
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

    async def begin(self, principal: Principal, *, request_id: str) -> Enrolment:
        """Begun again, the app that was shown before is forgotten: of two tabs the later one is right."""
        now, secret = self._clock(), totp.new_secret()
        sealed = totp.sealed_secret(self._secrets.sealer, secret, user_id=principal.user_id)
        async with self._database.as_system(principal.user_id, request_id) as tx:
            user = await repository.active_user(tx, principal.user_id)
            if user is None:
                raise Unauthenticated("this account is not active any more")
            if not await repository.begin_factor(tx, user.id, sealed, now):
                raise Conflict("an authenticator app is active already; remove it first")
        uri = totp.enrollment_uri(secret, account=user.email)
        return Enrolment(uri, secret, totp.qr_svg(uri), now + ENROLLMENT_LIFETIME)

    async def confirm(self, principal: Principal, code: str, *, request_id: str) -> RecoveryCodes:
        """Ends the user's other sessions, and a change of address that waits for its link.

        They have not given the factor, and somebody else may be behind them: the new mailbox would reset the password,
        which ends the factor.
        """
        speaking_for = self._database.as_system(principal.user_id, request_id)
        async with self._liveness.ending() as ending, speaking_for as tx:
            codes = await self._confirmed(tx, principal, code)
            if not isinstance(codes, Refusal):
                await ending.of(principal.user_id)
        if isinstance(codes, Refusal):  # raised out here: the failed try commits
            raise codes
        return RecoveryCodes(codes)

    async def remove(self, principal: Principal, *, request_id: str) -> None:
        async with self._database.as_system(principal.user_id, request_id) as tx:
            if not await repository.remove_factor(tx, principal.user_id):
                raise NotFound("there is no second factor to remove")
            await tx.audit("second_factor.disabled", "user", principal.user_id)
            await tell_of_change(tx, self._secrets, principal.user_id, "removed", self._clock())

    async def renew_recovery_codes(self, principal: Principal, *, request_id: str) -> RecoveryCodes:
        async with self._database.as_system(principal.user_id, request_id) as tx:
            factor = await repository.lock_factor(tx, principal.user_id)
            if factor is None or factor.confirmed_at is None:
                raise Conflict("recovery codes stand in for an authenticator app: set one up first")
            codes = await self._new_codes(tx, factor)
            await tx.audit("second_factor.recovery_codes_renewed", "user", principal.user_id)
            await tell_of_change(tx, self._secrets, principal.user_id, "codes_renewed", self._clock())
        return RecoveryCodes(codes)

    async def _confirmed(self, tx: SystemTransaction, principal: Principal, code: str) -> list[str] | Refusal:
        now = self._clock()
        if await repository.lock_active_user(tx, principal.user_id) is None:
            return Unauthenticated("this account is not active any more")
        factor = await repository.lock_factor(tx, principal.user_id)
        if factor is not None and factor.confirmed_at is not None:
            return Conflict("this authenticator app is active already")
        if factor is None or now >= factor.started_at + ENROLLMENT_LIFETIME:
            return Conflict("there is nothing to confirm, or it took too long: begin with POST me/mfa/totp")
        fault = await fault_of_code(tx, self._secrets, factor, code, now)
        if isinstance(fault, InvalidSecondFactor):  # the user is signed in: the input is wrong, not the identity
            return InvalidInput("the code is wrong: is the phone's clock right?", errors=(FieldError("code", "wrong"),))
        if fault is not None:
            return fault
        factor.confirmed_at = now
        await repository.note_given(tx, principal.session_id, (PASSWORD, ONE_TIME_PASSWORD))
        ended = await sessions.end(tx, principal.user_id, now, but=principal.session_id)
        await self._when_enabled(tx, principal.user_id, now)
        await tx.audit("second_factor.enabled", "user", principal.user_id, sessions_ended=len(ended))
        await tell_of_change(tx, self._secrets, principal.user_id, "enabled", now)
        return await self._new_codes(tx, factor)

    async def _new_codes(self, tx: SystemTransaction, factor: TotpFactor) -> list[str]:
        codes = recovery_codes.new_set()
        hashes = [recovery_codes.stored_hash(code, factor.user_id, self._secrets.index) for code in codes]
        await repository.replace_recovery_codes(tx, factor.user_id, hashes)
        return codes
