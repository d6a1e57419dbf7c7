"""Registration with proof of the e-mail address: the data that was typed takes effect when its mailed link is opened.

Anybody can type somebody else's address. So the password and the names of a registration belong to the token in its
mail. Opening the link makes exactly these the account's, whatever was typed for this address before or after. The same
holds for the spelling of the address: the mail goes to the spelling of this registration, and proves that one.

Until then the user's row only reserves the address. It gives no access, and everything it holds ends when the address
is proved. It also gives way to a user who proves the address in another way (`credentials/repository.py`,
`release_address`).

Several registrations of one address may be open at once, each for a day. Their mails say when each was made, and that
there are others.

A file of its own beside service.py, which is about signing in: here no account exists yet.
"""

from datetime import datetime, timedelta
from typing import Any, Final

from billing_api.identity.accounts import repository
from billing_api.identity.accounts.schemas import EmailVerified, Registered, Registration
from billing_api.identity.credentials import email_address
from billing_api.identity.credentials import repository as credentials
from billing_api.identity.credentials.access_revocation import revoke_all_access
from billing_api.identity.credentials.password_hashing import HashingSlot, Passwords
from billing_api.identity.sessions.liveness import Liveness
from billing_api.notifications.mails import repository as mail_repository
from billing_api.notifications.mails.service import MAILS_AN_HOUR, Mails
from core.clock import Clock
from core.errors import FieldError, InvalidInput
from core.ids import new_id
from core.telemetry import logger
from db.models.identity import TokenPurpose, User
from db.unit_of_work import Database, SystemTransaction

VERIFY_LIFETIME: Final = timedelta(hours=24)


class Registrations:
    """Known and unknown addresses get the same answers after the same work, so that no answer shows who is a user."""

    def __init__(
        self, database: Database, *, liveness: Liveness, passwords: Passwords, mails: Mails, clock: Clock
    ) -> None:
        self._database = database
        self._liveness = liveness
        self._passwords = passwords
        self._mails = mails
        self._clock = clock

    async def register(self, registration: Registration) -> Registered:
        """The password is hashed before the transaction, because a hash takes longer than everything else together."""
        names = {"full_name": registration.full_name, "company_name": registration.company_name}
        with self._passwords.slot() as slot:
            await check_choice(slot, registration.email, registration.password, *names.values())
            typed = {"password_hash": await slot.hash(registration.password), **names}
        async with self._database.as_system() as tx:
            user = await repository.insert_user(tx, email=registration.email, **typed)
            if user is not None:
                await self._mail_link(tx, user, registration.email, typed, others="")
            else:
                await self._register_again(tx, registration.email, typed)
        return Registered(registration.email)

    async def verify(self, token: str) -> EmailVerified:
        """The address is proved, and this link's registration takes effect. One link of an address works, once."""
        now, token_hash = self._clock(), self._mails.token_hash(token)
        async with self._liveness.revocation() as revocation, self._database.as_system() as tx:
            user = await self._spend(tx, token_hash, now)
            typed = user and await repository.registration(tx, token_hash)
            if user is None or typed is None:
                raise InvalidInput(
                    "this link does not work any more: it works once, for a day; register again to get a new one",
                    errors=(FieldError("token", "unknown, used or expired"),),
                )
            # What was typed becomes the account's.
            user.email, user.password_hash = typed.email, typed.password_hash
            user.full_name, user.company_name = typed.full_name, typed.company_name
            user.email_verified_at = now
            # Everything that was prepared before the proof ends: other links and registrations, all access.
            await mail_repository.end_tokens(tx, user.id, TokenPurpose.VERIFY_EMAIL, now)
            await repository.forget_registrations(tx, user.id)
            await revoke_all_access(tx, user.id, now)
            await revocation.fence(user.id)
            return EmailVerified(user.email)

    async def _spend(self, tx: SystemTransaction, token_hash: bytes, now: datetime) -> User | None:
        """The lock comes first: if two links are opened at once, the second finds its token ended."""
        user_id = await mail_repository.owner_of_token(tx, TokenPurpose.VERIFY_EMAIL, token_hash)
        user = None if user_id is None else await credentials.lock_user(tx, user_id)
        spent = await mail_repository.spend_token(tx, TokenPurpose.VERIFY_EMAIL, token_hash, now)
        is_unproved = user is not None and user.email_verified_at is None and user.deleted_at is None
        return user if spent is not None and is_unproved else None

    async def _register_again(self, tx: SystemTransaction, email: str, typed: dict[str, Any]) -> None:
        now = self._clock()
        user = await repository.lock_user(tx, email)
        if user is None or await mail_repository.mails_of(tx, user.id, now - timedelta(hours=1)) >= MAILS_AN_HOUR:
            logger().warning("account.mail_withheld", user_id=str(user and user.id))
            return
        if user.email_verified_at is not None:
            await self._mails.write(tx, user, "account_exists", occasion=str(new_id()), now=now)
            return
        others = await repository.forget_registrations(tx, user.id, before=now - VERIFY_LIFETIME)
        # It gives no access yet. But a sign-in with the latest password is then told to prove the address first.
        for name, value in typed.items():
            setattr(user, name, value)
        await self._mail_link(tx, user, email, typed, others="yes" if others else "")

    async def _mail_link(
        self, tx: SystemTransaction, user: User, email: str, typed: dict[str, Any], *, others: str
    ) -> None:
        """To `email` as it was typed: an earlier spelling may be a stranger's, and may not reach this user."""
        now = self._clock()
        token_hash = await self._mails.write_link(
            tx,
            user,
            TokenPurpose.VERIFY_EMAIL,
            expires_at=now + VERIFY_LIFETIME,
            now=now,
            recipient=email,
            registered_at=f"{now:%d %B %Y, %H:%M:%S} UTC",
            others=others,
        )
        facts = {"token_hash": token_hash, "user_id": user.id, "email": email, "created_at": now}
        await repository.add_registration(tx, **facts, **typed)


async def check_choice(slot: HashingSlot, email: str, password: str, *names: str | None) -> None:
    """InvalidInput with all faults where this address or this password is not accepted."""
    faults = {"email": email_address.fault(email), "password": await slot.weakness(password, (email, *names))}
    errors = tuple(FieldError(field, detail) for field, detail in faults.items() if detail is not None)
    if errors:
        raise InvalidInput("; ".join(error.detail for error in errors), errors=errors)
