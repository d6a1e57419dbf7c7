"""Sign-in, token refresh and sign-out, and the user's own profile.

No answer shows a stranger whether an address has an account: known and unknown addresses get the same answers after
the same work (no user enumeration).
"""

from uuid import UUID

from billing_api.access.caller import Caller
from billing_api.access.permissions import ONE_TIME_PASSWORD, PASSWORD, Principal
from billing_api.identity.accounts import repository
from billing_api.identity.accounts.schemas import Me, MyChanges
from billing_api.identity.credentials.password_check import PasswordCheck, PasswordProof
from billing_api.identity.second_factor import challenges, verification
from billing_api.identity.second_factor import repository as second_factors
from billing_api.identity.second_factor.schemas import FactorProof, SecondFactorAsked
from billing_api.identity.sessions import refresh_tokens
from billing_api.identity.sessions.liveness import Liveness, SessionRevocation
from billing_api.identity.sessions.refresh_tokens import TokenStanding
from billing_api.identity.sessions.sign_in import SignedIn, SignIns
from core.clock import Clock
from core.errors import ChallengeOver, EmailNotVerified, Forbidden, Refusal, Unauthenticated
from core.settings import Secrets
from db.models.identity import Session, User
from db.reads import SystemReads
from db.unit_of_work import Database, SystemTransaction


class AccountService:
    def __init__(
        self,
        database: Database,
        reads: SystemReads,
        *,
        liveness: Liveness,
        check: PasswordCheck,
        sign_ins: SignIns,
        secrets: Secrets,
        clock: Clock,
    ) -> None:
        self._database = database
        self._reads = reads
        self._liveness = liveness
        self._check = check
        self._sign_ins = sign_ins
        self._secrets = secrets
        self._clock = clock

    async def sign_in(self, email: str, password: str, caller: Caller) -> SignedIn | SecondFactorAsked:
        """A session; or a challenge, where the account has a second factor."""
        proof = await self._check.by_email(email, password, caller)
        async with self._database.as_system(request_id=caller.request_id) as tx:
            admitted = await self._admit(tx, proof, caller)
        if isinstance(admitted, Refusal):  # raised after the commit: the guess was right and must be taken back
            raise admitted
        return admitted

    async def answer_challenge(self, challenge: str, proof: FactorProof, caller: Caller) -> SignedIn:
        """The second step of a sign-in: ChallengeOver where the sign-in has to begin again."""
        proof.check_one()
        async with self._database.as_system(request_id=caller.request_id) as tx:
            outcome = await self._second_step(tx, challenge, proof, caller)
        if isinstance(outcome, Refusal):  # raised after the commit: the failed attempt must count
            raise outcome
        return outcome

    async def refresh(self, refresh_token: str, caller: Caller) -> SignedIn:
        """A new pair of tokens. Unauthenticated where the family has ended, or ends now because a token was copied."""
        async with (
            self._liveness.revocation() as revocation,
            self._database.as_system(request_id=caller.request_id) as tx,
        ):
            signed_in = await self._next_pair(tx, refresh_token, revocation, caller)
        if signed_in is None:  # raised after the commit: a family that ends must stay ended
            raise Unauthenticated("this sign-in has ended: sign in again with POST auth/login")
        return signed_in

    async def sign_out(self, refresh_token: str | None, principal: Principal | None) -> None:
        """Ends the session of the cookie and that of the access token. A client without either gets the same answer.

        Each of the two ends only its own session. A made-up token that merely names a session ends nothing.
        """
        async with self._liveness.revocation() as revocation, self._database.as_system() as tx:
            named = {await self._family(tx, refresh_token or ""), _own_session(principal)}
            for session_id in sorted(filter(None, named)):  # one lock order for all, so that no two deadlock
                user_id = await repository.revoke_session(tx, session_id, self._clock())
                if user_id is not None:
                    await revocation.fence(user_id)

    async def me(self, principal: Principal) -> Me:
        ids = {name: getattr(principal, name) for name in ("user_id", "session_id", "actor_id")}
        found = await self._reads.rows(repository.PROFILE, ids)
        # An access token may outlive its user's account by up to 15 minutes.
        if not found or not found[0].is_active:
            raise Unauthenticated("this account is not active any more: write to support")
        return Me.read(found[0], principal)

    async def change_me(self, principal: Principal, changes: MyChanges) -> Me:
        if given := changes.given():
            async with self._database.as_customer(principal.user_id) as tx:
                await repository.change_own_user(tx, principal.user_id, given)
        return await self.me(principal)

    async def _admit(
        self, tx: SystemTransaction, proof: PasswordProof, caller: Caller
    ) -> SignedIn | SecondFactorAsked | Refusal:
        # Lock the user and check again: a suspension or a new password may have come since the password was read.
        user = await self._check.redeem(tx, proof)
        # Only a caller who knows the password learns the state of the account.
        if user.email_verified_at is None:
            return EmailNotVerified()
        if not user.is_active:
            return Forbidden("this account is suspended; write to support")
        # Then store a stronger hash, if there is one, and ask for the second factor or open the session.
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
        fault = await verification.fault_of_proof(tx, self._secrets, user.id, proof, now)
        if fault is not None:
            return fault
        await challenges.use_up(tx, self._secrets.index, token, now)
        return self._open(tx, user, caller, (PASSWORD, ONE_TIME_PASSWORD))

    def _open(self, tx: SystemTransaction, user: User, caller: Caller, amr: tuple[str, ...]) -> SignedIn:
        """The device cookie is set only now, after all factors: a password alone may have been stolen."""
        device = self._sign_ins.devices.cookie_for(caller.device, user.id)
        return self._sign_ins.open(tx, user, caller, amr=amr, device=device)

    async def _family(self, tx: SystemTransaction, token: str) -> UUID | None:
        """The session that this token may end: the token belongs to its family, at any age.

        It takes no lock yet: the caller locks two sessions in one order, so that no two calls deadlock.
        """
        session_id = refresh_tokens.session_id(token)
        found = session_id and await repository.session(tx, session_id)
        return session_id if found and self._standing(found, token) is not TokenStanding.FOREIGN else None

    def _standing(self, session: Session, token: str) -> TokenStanding:
        keyed_hash = self._secrets.index
        token_hash = refresh_tokens.stored_hash(token, keyed_hash)
        genuine = refresh_tokens.is_genuine(token, keyed_hash)
        return refresh_tokens.standing(session, token_hash, self._clock(), genuine=genuine)

    async def _next_pair(
        self, tx: SystemTransaction, token: str, revocation: SessionRevocation, caller: Caller
    ) -> SignedIn | None:
        """None where the token gives no new pair. The changes are part of the transaction."""
        # Find and lock the session that the token names.
        now = self._clock()
        session_id = refresh_tokens.session_id(token)
        found = session_id and await repository.lock_session(tx, session_id)
        if not found:
            return None
        session, user = found
        # Refuse an ended or made-up token; end the family of a copied one.
        standing = self._standing(session, token)
        if standing in {TokenStanding.OVER, TokenStanding.FOREIGN}:
            return None
        if standing is TokenStanding.COPIED or not user.is_active:
            session.revoked_at = now
            cause = "refresh token reused" if standing is TokenStanding.COPIED else "user suspended"
            await tx.audit("session.revoked", "session", session.id, user_id=str(user.id), cause=cause)
            await revocation.fence(user.id)
            return None
        # Issue the successor. Only the newest token moves the family on; the one before it gets the same successor.
        session.last_seen_at, session.address = now, caller.address
        successor = refresh_tokens.successor(token, self._secrets.index)
        if standing is TokenStanding.CURRENT:
            session.previous_hash = session.refresh_hash
            session.refresh_hash = refresh_tokens.stored_hash(successor, self._secrets.index)
            session.rotated_at, session.expires_at = now, now + refresh_tokens.LIFETIME
        return self._sign_ins.pair(session, user, successor)


def _own_session(principal: Principal | None) -> UUID | None:
    """The session of an access token. A program has none; an impersonation belongs to the administrator's sign-in."""
    is_own = principal is not None and principal.client_id is None and principal.actor_id is None
    return principal.session_id if principal is not None and is_own else None
