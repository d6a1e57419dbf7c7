"""Password verification, throttled: a guess is counted first, then verified. Passwords are verified only here.

A session that gives five wrong passwords, or in a step-up five wrong codes, is ended. So the thief of an access token
cannot go on guessing, and no other session of the user is affected.

Known and unknown accounts cost the same: one transaction with the same statements, then one hash outside of it. A guess
that has to wait costs no hash. A caller that is refused because the hashing queue is full (503) has not been counted.
"""

from typing import Final
from uuid import UUID

import msgspec

from billing_api.access.caller import Caller
from billing_api.access.permissions import Principal
from billing_api.identity.credentials import email_address, repository
from billing_api.identity.credentials.password_hashing import Passwords
from billing_api.identity.login_throttle.device import Devices
from billing_api.identity.login_throttle.rules import ONE_GUESSER, Guesser, GuesserKind
from billing_api.identity.login_throttle.service import Guess, GuessCounter, Wait
from billing_api.identity.sessions import repository as sessions
from billing_api.identity.sessions.liveness import Liveness, SessionRevocation
from core.counted import counted
from core.errors import InvalidCredentials, TooManyRequests, Unauthenticated
from core.mailbox import mailbox_key
from db.models.identity import User
from db.unit_of_work import Database, SystemTransaction

MOST_WRONG: Final = ONE_GUESSER.free
"""Wrong guesses of one session; the last of them ends the session."""
SIGNED_OUT: Final = f"{MOST_WRONG} wrong passwords or codes: this sign-in has ended: sign in again with POST auth/login"


class PasswordProof(msgspec.Struct, frozen=True):
    """A verified password. The transaction that acts on it redeems it, because the user's row may have changed since.

    `better_hash`: the same password hashed with today's parameters, where the stored hash has older ones.
    """

    user: User
    guess: Guess
    better_hash: str | None


class PasswordCheck:
    def __init__(
        self, database: Database, *, liveness: Liveness, passwords: Passwords, counter: GuessCounter, devices: Devices
    ) -> None:
        self._database = database
        self._liveness = liveness
        self._passwords = passwords
        self._counter = counter
        self._devices = devices

    async def by_email(self, email: str, password: str, caller: Caller) -> PasswordProof:
        """InvalidCredentials for anything wrong; TooManyRequests where this guesser has to wait."""
        # No account can have such an address. Spend the same time on it.
        if email_address.fault(email) is not None:
            await self._passwords.verify(password, None)
            raise InvalidCredentials
        with self._passwords.slot() as slot:
            # Count the guess, and commit the count.
            async with self._database.as_system(request_id=caller.request_id) as tx:
                user = await repository.user_by_email(tx, email)
                guesser = self._guesser(user, caller)
                counted = await self._counter.count(tx, mailbox_key(email), guesser, user_id=_id(user))
            guess = _admitted(counted)
            # Verify outside of the transaction.
            password_hash = None if user is None else user.password_hash
            if not await slot.verify(password, password_hash) or user is None:
                raise InvalidCredentials
            is_outdated = self._passwords.is_outdated(user.password_hash)
            return PasswordProof(user, guess, await slot.hash(password) if is_outdated else None)

    async def by_session(self, principal: Principal, password: str, caller: Caller) -> PasswordProof:
        """The same for a signed-in user: the guess counts for the session, so nobody else can use up its count."""
        # Count the guess, commit the count, then verify.
        guesser = Guesser(GuesserKind.SESSION, str(principal.session_id))
        with self._passwords.slot() as slot:
            async with self._database.as_system(principal.user_id, caller.request_id) as tx:
                user = await repository.user_by_id(tx, principal.user_id)
                if user is None or not user.is_active:
                    raise Unauthenticated("this account is not active any more: write to support")
                counted = await self._counter.count(tx, user.email_key, guesser, user_id=user.id)
            guess = _admitted(counted)
            if await slot.verify(password, user.password_hash):
                return PasswordProof(user, guess, None)
        # A wrong password. The last allowed one ends the session.
        if guess.number < MOST_WRONG:
            raise InvalidCredentials("the present password is wrong: correct it and try again")
        async with (
            self._liveness.revocation() as revocation,
            self._database.as_system(principal.user_id, caller.request_id) as tx,
        ):
            await self.sign_out(tx, revocation, principal)
        raise Unauthenticated(SIGNED_OUT)

    async def redeem(self, tx: SystemTransaction, proof: PasswordProof) -> User:
        """Locks the user and takes the guess back. InvalidCredentials where the password has changed since.

        The caller checks everything else that may have happened to the account.
        """
        user = await self.lock(tx, proof)
        await self.take_back(tx, proof)
        return user

    async def redeem_in_session(self, tx: SystemTransaction, proof: PasswordProof, principal: Principal) -> User:
        """The same for a signed-in user. Unauthenticated where the account or the session has ended since.

        A second factor that was switched on during the hashing has ended the sessions that lack it.
        """
        user = await self.redeem(tx, proof)
        if not user.is_active:
            raise Unauthenticated("this account is not active any more: write to support")
        if await sessions.live_role(tx, principal.session_id, user.id, self._counter.now()) is None:
            raise Unauthenticated("this sign-in has ended: sign in again with POST auth/login")
        return user

    async def lock(self, tx: SystemTransaction, proof: PasswordProof) -> User:
        """As `redeem`, but the guess stays counted: the caller has to prove more first."""
        user = await repository.lock_user(tx, proof.user.id)
        if user is None or user.password_hash != proof.user.password_hash:
            raise InvalidCredentials
        return user

    async def take_back(self, tx: SystemTransaction, proof: PasswordProof, *, only_this: bool = False) -> None:
        """All of the guesser's guesses, or `only_this` one, because it was not wrong."""
        await self._counter.take_back(tx, proof.guess, only_this=only_this)

    async def sign_out(self, tx: SystemTransaction, revocation: SessionRevocation, principal: Principal) -> None:
        """Ends a session that guesses."""
        cause = f"{MOST_WRONG} wrong step-ups"
        if await sessions.end(tx, principal.user_id, self._counter.now(), only=principal.session_id):
            facts = {"user_id": str(principal.user_id), "cause": cause}
            await tx.audit("session.revoked", "session", principal.session_id, **facts)
        await revocation.fence(principal.user_id)

    def _guesser(self, user: User | None, caller: Caller) -> Guesser:
        device = self._devices.name(caller.device, _id(user))
        if device is None:
            return Guesser(GuesserKind.ADDRESS, caller.network)
        return Guesser(GuesserKind.DEVICE, device)


def _id(user: User | None) -> UUID | None:
    return None if user is None else user.id


def _admitted(guess: Guess | Wait) -> Guess:
    """TooManyRequests where the guess has to wait. Called after the commit, so that the refusal is on record."""
    if isinstance(guess, Wait):
        raise TooManyRequests(
            f"too many wrong passwords for this account: wait {counted(guess.seconds, 'second')}, or ask for a link to"
            " set a new password; after that this device does not have to wait",
            retry_after=guess.seconds,
        )
    return guess
