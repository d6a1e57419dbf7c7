"""Judges a password that somebody gives: counted first, then looked at. The only place where passwords are verified.

Somebody signed in who is wrong five times, about the password or in a step-up about the code, is signed out: a thief of
an access token cannot guess on, and nobody else is kept out by it.

Known and unknown accounts cost the same: one transaction with the same statements, then one hash, outside of it. A
guess that has to wait costs no hash. A caller who is refused for lack of room (503) is not counted.
"""

from typing import Final
from uuid import UUID

import msgspec

from billing_api.access.caller import Caller
from billing_api.access.permissions import Principal
from billing_api.identity.credentials import email_address, repository
from billing_api.identity.credentials.password_hashing import Passwords
from billing_api.identity.login_throttle.device import Devices
from billing_api.identity.login_throttle.rules import (
    ONE_GUESSER,
    Guesser,
    GuesserKind,
)
from billing_api.identity.login_throttle.service import (
    Guess,
    GuessCounter,
    Wait,
)
from billing_api.identity.sessions import repository as sessions
from billing_api.identity.sessions.liveness import Ending, Liveness
from core.errors import InvalidCredentials, TooManyRequests, Unauthenticated
from core.mailbox import mailbox_key
from db.models.identity import User
from db.unit_of_work import Database, SystemTransaction

MOST_WRONG: Final = ONE_GUESSER.free
"""Guesses of a session; the last of them ends it."""
SIGNED_OUT: Final = f"{MOST_WRONG} wrong passwords or codes: this sign-in has ended; sign in again"


class Proof(msgspec.Struct, frozen=True):
    """A right password, to be redeemed in the transaction that acts on it: the user's row may change meanwhile.

    `better_hash`: the same password hashed at today's costs, where the stored hash is older.
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

    async def by_email(self, email: str, password: str, caller: Caller) -> Proof:
        """InvalidCredentials for whatever is wrong; TooManyRequests where this guesser has to wait."""
        if email_address.fault(email) is not None:
            await self._passwords.fits(password, None)
            raise InvalidCredentials
        with self._passwords.turn() as turn:
            async with self._database.as_system(request_id=caller.request_id) as tx:
                user = await repository.user_by_email(tx, email)
                guesser = self._at_the_door(user, caller)
                counted = await self._counter.count(tx, mailbox_key(email), guesser, user_id=_id(user))
            guess = _counted(counted)
            password_hash = None if user is None else user.password_hash
            if not await turn.fits(password, password_hash) or user is None:
                raise InvalidCredentials
            is_outdated = self._passwords.is_outdated(user.password_hash)
            return Proof(user, guess, await turn.hash(password) if is_outdated else None)

    async def by_session(self, principal: Principal, password: str, caller: Caller) -> Proof:
        """The same for somebody signed in: the count is the session's, and nobody else can use it up."""
        guesser = Guesser(GuesserKind.SESSION, str(principal.session_id))
        with self._passwords.turn() as turn:
            async with self._database.as_system(principal.user_id, caller.request_id) as tx:
                user = await repository.user_by_id(tx, principal.user_id)
                if user is None or not user.is_active:
                    raise Unauthenticated("this account is not active any more")
                counted = await self._counter.count(tx, user.email_key, guesser, user_id=user.id)
            guess = _counted(counted)
            if await turn.fits(password, user.password_hash):
                return Proof(user, guess, None)
        if guess.number < MOST_WRONG:
            raise InvalidCredentials("the present password is wrong")
        async with (
            self._liveness.ending() as ending,
            self._database.as_system(principal.user_id, caller.request_id) as tx,
        ):
            await self.sign_out(tx, ending, principal)
        raise Unauthenticated(SIGNED_OUT)

    async def redeem(self, tx: SystemTransaction, proof: Proof) -> User:
        """The user, locked, and the guess taken back. InvalidCredentials where the password changed meanwhile.

        Whatever else may have happened to the account is for the caller to look at.
        """
        user = await self.lock(tx, proof)
        await self.take_back(tx, proof)
        return user

    async def redeem_in_session(self, tx: SystemTransaction, proof: Proof, principal: Principal) -> User:
        """The same for somebody signed in. Unauthenticated where account or session have ended meanwhile.

        A second factor that was switched on while the password was hashed has ended the sessions without it.
        """
        user = await self.redeem(tx, proof)
        if not user.is_active:
            raise Unauthenticated("this account is not active any more")
        if await sessions.live(tx, principal.session_id, user.id, self._counter.now()) is None:
            raise Unauthenticated("this sign-in has ended; sign in again")
        return user

    async def lock(self, tx: SystemTransaction, proof: Proof) -> User:
        """As `redeem`, and the guess counts on: for who has to prove more."""
        user = await repository.lock_user(tx, proof.user.id)
        if user is None or user.password_hash != proof.user.password_hash:
            raise InvalidCredentials
        return user

    async def take_back(self, tx: SystemTransaction, proof: Proof, *, only_this: bool = False) -> None:
        """All of the guesser's guesses, or `only_this`: it was not wrong."""
        await self._counter.take_back(tx, proof.guess, only_this=only_this)

    async def sign_out(self, tx: SystemTransaction, ending: Ending, principal: Principal) -> None:
        """Ends a session in which somebody guesses."""
        cause = f"{MOST_WRONG} wrong step-ups"
        if await sessions.end(tx, principal.user_id, self._counter.now(), only=principal.session_id):
            facts = {"user_id": str(principal.user_id), "cause": cause}
            await tx.audit("session.revoked", "session", principal.session_id, **facts)
        await ending.of(principal.user_id)

    def _at_the_door(self, user: User | None, caller: Caller) -> Guesser:
        device = self._devices.name(caller.device, _id(user))
        if device is None:
            return Guesser(GuesserKind.ADDRESS, caller.network)
        return Guesser(GuesserKind.DEVICE, device)


def _id(user: User | None) -> UUID | None:
    return None if user is None else user.id


def _counted(counted: Guess | Wait) -> Guess:
    """Raised outside of the transaction, so that what it wrote about the refusal commits."""
    if isinstance(counted, Wait):
        raise TooManyRequests(
            f"too many wrong passwords for this account; wait {counted.seconds} seconds, or ask for a link to set a new"
            " password: after that this device need not wait",
            retry_after=counted.seconds,
        )
    return counted
