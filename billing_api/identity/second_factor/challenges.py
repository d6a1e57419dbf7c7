"""Sign-in challenge: a right password gets it where the account has a second factor, and trades it for a session.

It is a random token that names a row, so nothing can mistake it for an access token. It is stored and not signed,
because a signed one could not be used up, and its tries could not be counted. The row holds a keyed hash of the
password's hash. So the challenge ends with that password, and code that changes passwords need not know of challenges.

A file of its own because it is no use case: sign-in issues and redeems challenges within its own transactions.
"""

from datetime import datetime

from billing_api.identity.second_factor import repository
from billing_api.identity.second_factor.rules import CHALLENGE_LIFETIME, CHALLENGE_TRIES
from core.crypto.sealing import KeyedHash
from core.ids import new_token
from db.models.identity import User
from db.unit_of_work import SystemTransaction


async def issue(tx: SystemTransaction, keyed_hash: KeyedHash, user: User, now: datetime) -> str:
    """The caller has locked `user`, with the password's hash loaded."""
    token = new_token()
    await repository.add_challenge(
        tx,
        now,
        token_hash=_stored_hash(token, keyed_hash),
        user_id=user.id,
        password_mark=_password_mark(user, keyed_hash),
        expires_at=now + CHALLENGE_LIFETIME,
    )
    return token


async def take_try(tx: SystemTransaction, keyed_hash: KeyedHash, token: str, now: datetime) -> User | None:
    """Counts a try and returns the user who has to give the factor.

    None where the challenge is unknown, expired, used or tried too often, or where the user's state or password has
    changed since. The user stays locked, so that the decision holds until the transaction ends.
    """
    token_hash = _stored_hash(token, keyed_hash)
    user = await repository.lock_challenged_user(tx, token_hash)
    if user is None or not user.is_active:
        return None
    challenge = await repository.take_try(tx, token_hash, now, most=CHALLENGE_TRIES)
    if challenge is None or challenge.password_mark != _password_mark(user, keyed_hash):
        return None
    return user


async def use_up(tx: SystemTransaction, keyed_hash: KeyedHash, token: str, now: datetime) -> None:
    await repository.use_challenge(tx, _stored_hash(token, keyed_hash), now)


def _stored_hash(token: str, keyed_hash: KeyedHash) -> bytes:
    return keyed_hash.digest("sign_in_challenge", token)


def _password_mark(user: User, keyed_hash: KeyedHash) -> bytes:
    return keyed_hash.digest("challenge_password", user.password_hash)
