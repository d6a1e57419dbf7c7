"""Re-authentication within a session (step-up): it renews the session's `auth_time` and `amr`, and nothing else.

The thief of an access token could guess here. So five wrong step-ups in a row end the session, whether the password or
the code is wrong. They are counted for this session only, so that no other session is affected
(credentials/password_check.py). Wrong codes also count against the account, as at sign-in.
"""

from billing_api.access.caller import Caller
from billing_api.access.permissions import ONE_TIME_PASSWORD, PASSWORD, Principal
from billing_api.access.tokens import TokenIssuer
from billing_api.identity.credentials.password_check import MOST_WRONG, SIGNED_OUT, PasswordCheck, PasswordProof
from billing_api.identity.second_factor import repository as second_factors
from billing_api.identity.second_factor import verification
from billing_api.identity.second_factor.schemas import FactorProof
from billing_api.identity.sessions.liveness import Liveness
from billing_api.identity.step_up import repository
from billing_api.identity.step_up.schemas import StepUp
from core.clock import Clock
from core.errors import InvalidSecondFactor, Refusal, SecondFactorRequired, TooManyRequests, Unauthenticated
from core.settings import Secrets
from db.unit_of_work import Database, SystemTransaction


class StepUpService:
    def __init__(
        self,
        database: Database,
        *,
        liveness: Liveness,
        check: PasswordCheck,
        tokens: TokenIssuer,
        secrets: Secrets,
        clock: Clock,
    ) -> None:
        self._database = database
        self._liveness = liveness
        self._check = check
        self._tokens = tokens
        self._secrets = secrets
        self._clock = clock

    async def step_up(self, principal: Principal, given: StepUp, caller: Caller) -> str:
        """An access token whose `auth_time` is now. SecondFactorRequired where only the password was given."""
        if given.is_given:
            given.check_one()
        proof = await self._check.by_session(principal, given.password, caller)
        speaking_for = self._database.as_system(principal.user_id, caller.request_id)
        async with self._liveness.revocation() as revocation, speaking_for as tx:
            outcome = await self._outcome(tx, principal, proof, given)
            if proof.guess.number >= MOST_WRONG and isinstance(outcome, InvalidSecondFactor | TooManyRequests):
                await self._check.sign_out(tx, revocation, principal)
                outcome = Unauthenticated(SIGNED_OUT)
        if isinstance(outcome, Refusal):  # raised after the commit: the count must stay
            raise outcome
        return outcome

    async def _outcome(
        self, tx: SystemTransaction, principal: Principal, proof: PasswordProof, factor_proof: FactorProof
    ) -> str | Refusal:
        now = self._clock()
        # Lock and check again, as at sign-in: the account may have been suspended during the hashing.
        user = await self._check.lock(tx, proof)
        session = await repository.lock_live_session(tx, principal.session_id, principal.user_id, now)
        if session is None or not user.is_active:
            return Unauthenticated("this sign-in has ended: sign in again with POST auth/login")
        # The second factor, where the account has one.
        amr = [PASSWORD]
        if await second_factors.has_factor(tx, user.id):
            if not factor_proof.is_given:
                await self._check.take_back(tx, proof, only_this=True)  # nothing was wrong, but nothing is proved yet
                return SecondFactorRequired("also send a code of your authenticator app, or a recovery code")
            fault = await verification.fault_of_proof(tx, self._secrets, user.id, factor_proof, now)
            if fault is not None:
                return fault
            amr.append(ONE_TIME_PASSWORD)
        # All is proved: reset the count and renew the session.
        await self._check.take_back(tx, proof)
        session.authenticated_at, session.amr = now, amr
        await tx.audit("session.stepped_up", "session", session.id, amr=amr)
        return self._tokens.issue(Principal(user.id, user.role, session.id, now, amr=tuple(amr)))
