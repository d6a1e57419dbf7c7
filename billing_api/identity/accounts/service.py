"""Signing in and staying signed in, and what somebody says of an own account.

Nothing here tells a stranger whether an address has an account: known and unknown ones get the same answers after the
same work.
"""

from uuid import UUID

from billing_api.access.caller import Caller
from billing_api.access.permissions import (
    ONE_TIME_PASSWORD,
    PASSWORD,
    Principal,
)
from billing_api.identity.accounts import repository
from billing_api.identity.accounts.schemas import Me, MyChanges
from billing_api.identity.credentials.password_check import PasswordCheck, Proof
from billing_api.identity.second_factor import challenges, verifying
from billing_api.identity.second_factor import repository as second_factors
from billing_api.identity.second_factor.schemas import FactorProof, SecondFactorAsked
from billing_api.identity.sessions import refresh_tokens
from billing_api.identity.sessions.liveness import Ending, Liveness
from billing_api.identity.sessions.refresh_tokens import TokenStanding
from billing_api.identity.sessions.sign_in import SignedIn, SignIns
from core.clock import Clock
from core.errors import (
    ChallengeOver,
    EmailNotVerified,
    Forbidden,
    Refusal,
    Unauthenticated,
)
from core.settings import Secrets
from db.models.identity import Session, User
from db.unit_of_work import Database, SystemTransaction


class AccountService:
    def __init__(
        self,
        database: Database,
        *,
        liveness: Liveness,
        check: PasswordCheck,
        sign_ins: SignIns,
        secrets: Secrets,
        clock: Clock,
    ) -> None:
        self._database = database
        self._liveness = liveness
        self._check = check
        self._sign_ins = sign_ins
        self._secrets = secrets
        self._clock = clock

    async def sign_in(self, email: str, password: str, caller: Caller) -> SignedIn | SecondFactorAsked:
        """A session; or a challenge, where the password is not all that is asked for."""
        proof = await self._check.by_email(email, password, caller)
        async with self._database.as_system(request_id=caller.request_id) as tx:
            admitted = await self._admit(tx, proof, caller)
        if isinstance(admitted, Refusal):  # raised out here: that the guess was right commits
            raise admitted
        return admitted

    async def answer_challenge(self, challenge: str, proof: FactorProof, caller: Caller) -> SignedIn:
        """The second step of a sign-in: ChallengeOver where it has to begin anew."""
        proof.check_one()
        async with self._database.as_system(request_id=caller.request_id) as tx:
            outcome = await self._second_step(tx, challenge, proof, caller)
        if isinstance(outcome, Refusal):  # raised out here: the try commits
            raise outcome
        return outcome

    async def refresh(self, refresh_token: str, caller: Caller) -> SignedIn:
        """A fresh pair. Unauthenticated where the family is over, or ends here because of a copied token."""
        async with self._liveness.ending() as ending, self._database.as_system(request_id=caller.request_id) as tx:
            signed_in = await self._next_pair(tx, refresh_token, ending, caller)
        if signed_in is None:  # raised out here: the end of a family commits
            raise Unauthenticated("this sign-in has ended; sign in again")
        return signed_in

    async def sign_out(self, refresh_token: str | None, principal: Principal | None) -> None:
        """Ends the cookie's family and the access token's own session; if signed out already, the same answer.

        Each of the two speaks for its own session alone. A token that only names a session ends nothing.
        """
        async with self._liveness.ending() as ending, self._database.as_system() as tx:
            named = {await self._family(tx, refresh_token or ""), _own_session(principal)}
            for session_id in sorted(filter(None, named)):  # in one order for everybody
                user_id = await repository.revoke_session(tx, session_id, self._clock())
                if user_id is not None:
                    await ending.of(user_id)

    async def me(self, principal: Principal) -> Me:
        async with self._database.as_customer(principal.user_id) as tx:
            return _present(await repository.own_user(tx, principal.user_id))

    async def change_me(self, principal: Principal, changes: MyChanges) -> Me:
        given = changes.given()
        async with self._database.as_customer(principal.user_id) as tx:
            if not given:
                return _present(await repository.own_user(tx, principal.user_id))
            return _present(await repository.change_own_user(tx, principal.user_id, given))

    async def _admit(
        self, tx: SystemTransaction, proof: Proof, caller: Caller
    ) -> SignedIn | SecondFactorAsked | Refusal:
        # Locked and looked at again: a sign-in must not slip past a suspension or a change of password.
        user = await self._check.redeem(tx, proof)
        # Only somebody who knows the password hears how things stand with the account.
        if user.email_verified_at is None:
            return EmailNotVerified()
        if not user.is_active:
            return Forbidden("this account has been suspended; write to support")
        user.password_hash = proof.better_hash or user.password_hash
        if await second_factors.has_factor(tx, user.id):
            return SecondFactorAsked(await challenges.issue(tx, self._secrets.index, user, self._clock()))
        return self._open(tx, user, caller, (PASSWORD,))

    async def _second_step(
        self, tx: SystemTransaction, token: str, proof: FactorProof, caller: Caller
    ) -> SignedIn | Refusal:
        now = self._clock()
        user = await challenges.take_try(tx, self._secrets.index, token, now)
        if user is None:
            return ChallengeOver()
        fault = await verifying.fault_of_proof(tx, self._secrets, user.id, proof, now)
        if fault is not None:
            return fault
        await challenges.use_up(tx, self._secrets.index, token, now)
        return self._open(tx, user, caller, (PASSWORD, ONE_TIME_PASSWORD))

    def _open(self, tx: SystemTransaction, user: User, caller: Caller, amr: tuple[str, ...]) -> SignedIn:
        """With the mark of a device that has signed in: only now, for a password alone may have been stolen."""
        device = self._sign_ins.devices.mark(caller.device, user.id)
        return self._sign_ins.open(tx, user, caller, amr=amr, device=device)

    async def _family(self, tx: SystemTransaction, token: str) -> UUID | None:
        """The session that this token may end: one of the family's own, of whatever age.

        Not locked yet: two sessions that end together are locked in one order for everybody.
        """
        session_id = refresh_tokens.session_id(token)
        found = session_id and await repository.session(tx, session_id)
        return session_id if found and self._standing(found, token) is not TokenStanding.FOREIGN else None

    def _standing(self, session: Session, token: str) -> TokenStanding:
        keyed_hash = self._secrets.index
        token_hash = refresh_tokens.stored_hash(token, keyed_hash)
        genuine = refresh_tokens.is_genuine(token, keyed_hash)
        return refresh_tokens.standing(session, token_hash, self._clock(), genuine=genuine)

    async def _next_pair(self, tx: SystemTransaction, token: str, ending: Ending, caller: Caller) -> SignedIn | None:
        """None where there is none; what that changed is in the transaction."""
        now = self._clock()
        session_id = refresh_tokens.session_id(token)
        found = session_id and await repository.lock_session(tx, session_id)
        if not found:
            return None
        session, user = found
        standing = self._standing(session, token)
        if standing in {TokenStanding.OVER, TokenStanding.FOREIGN}:
            return None
        if standing is TokenStanding.COPIED or not user.is_active:
            session.revoked_at = now
            cause = "refresh token reused" if standing is TokenStanding.COPIED else "user suspended"
            await tx.audit("session.revoked", "session", session.id, user_id=str(user.id), cause=cause)
            await ending.of(user.id)
            return None
        session.last_seen_at, session.address = now, caller.address
        successor = refresh_tokens.successor(token, self._secrets.index)
        if standing is TokenStanding.CURRENT:
            session.previous_hash = session.refresh_hash
            session.refresh_hash = refresh_tokens.stored_hash(successor, self._secrets.index)
            session.rotated_at, session.expires_at = now, now + refresh_tokens.LIFETIME
        return self._sign_ins.pair(session, user, successor)


def _own_session(principal: Principal | None) -> UUID | None:
    """Of an access token. A program has none, and who looks at a customer's things has it from an own sign-in."""
    is_own = principal is not None and principal.client_id is None and principal.actor_id is None
    return principal.session_id if principal is not None and is_own else None


def _present(user: User | None) -> Me:
    """A token outlives its user's account by up to a quarter of an hour."""
    if user is None or not user.is_active:
        raise Unauthenticated("this account is not active any more")
    return Me.of(user)
