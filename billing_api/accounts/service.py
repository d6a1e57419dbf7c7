"""Registering, proving an address, signing in and staying signed in.

Nothing here tells a stranger whether an address has an account: known and unknown ones get the same answers after the
same work. Passwords are hashed before a transaction is opened, for a hash takes longer than everything else together.

A registration that nobody has proved stands for a day. Registering its address again meanwhile sends another link to
the first one, good until the same hour: nobody can slip a password of his own under a link that its owner is about to
follow, nor keep an address for longer that is not his. After that day the next registration takes the place.
"""

import base64
from datetime import datetime, timedelta
from typing import Final

import msgspec

from billing_api import email_address, refresh_tokens
from billing_api.access import Principal, TokenIssuer
from billing_api.accounts import repository
from billing_api.accounts.schemas import EmailVerified, Me, MyChanges, Registered, Registration
from billing_api.passwords import Passwords, weakness
from billing_api.refresh_tokens import Standing
from core.clock import Clock
from core.errors import EmailNotVerified, FieldError, Forbidden, InvalidCredentials, InvalidInput, Unauthenticated
from core.ids import new_id, new_token
from core.jobs import DeliverMail
from core.settings import Secrets
from core.telemetry import logger
from db.models.people import Session, TokenPurpose, User
from db.unit_of_work import Database, SystemTransaction

VERIFY_LIFETIME: Final = timedelta(hours=24)
MAILS_AN_HOUR: Final = 5
"""To one address, whoever asks for them: this form must not fill a stranger's mailbox."""
MAIL_TOKEN_CONTEXT: Final = "mails.token"  # noqa: S105  a place, not a secret
_LONGEST_USER_AGENT: Final = 200


class SignedIn(msgspec.Struct, frozen=True):
    """Both tokens of a sign-in, or of its latest refresh."""

    access_token: str
    refresh_token: str


class AccountService:
    def __init__(
        self, database: Database, *, tokens: TokenIssuer, passwords: Passwords, secrets: Secrets, clock: Clock
    ) -> None:
        self._database = database
        self._tokens = tokens
        self._passwords = passwords
        self._secrets = secrets
        self._clock = clock

    async def register(self, registration: Registration) -> Registered:
        check_choice(registration.email, registration.password)
        columns = {
            "password_hash": await self._passwords.hash(registration.password),
            "full_name": registration.full_name,
            "company_name": registration.company_name,
        }
        now = self._clock()
        async with self._database.as_system() as tx:
            user = await repository.insert_user(tx, email=registration.email, **columns)
            if user is not None:
                await self._mail_link(tx, user, now + VERIFY_LIFETIME, now)
            else:
                await self._register_again(tx, registration.email, columns, now)
        return Registered(registration.email)

    async def verify_email(self, token: str) -> EmailVerified:
        now = self._clock()
        token_hash = self._one_time_hash(token)
        async with self._database.as_system() as tx:
            user_id = await repository.spend_token(tx, TokenPurpose.VERIFY_EMAIL, token_hash, now)
            if user_id is None:
                raise InvalidInput(
                    "this link is not good any more: it works once, for a day; register again for another one",
                    errors=(FieldError("token", "unknown, used or expired"),),
                )
            return EmailVerified(await repository.verify_email(tx, user_id, now))

    async def sign_in(self, email: str, password: str, *, user_agent: str | None) -> SignedIn:
        user = None
        if email_address.fault(email) is None:
            async with self._database.as_system() as tx:
                user = await repository.user_by_email(tx, email)
        if not await self._passwords.fits(password, None if user is None else user.password_hash) or user is None:
            raise InvalidCredentials
        # Only somebody who knows the password hears how things stand with the account.
        if user.email_verified_at is None:
            raise EmailNotVerified
        if not user.is_active:
            raise Forbidden("this account has been suspended; write to support")
        better = await self._passwords.hash(password) if self._passwords.is_outdated(user.password_hash) else None
        async with self._database.as_system() as tx:
            # Locked and looked at again: a sign-in must not slip past a suspension or a change of password.
            present = await repository.lock_active_user(tx, user.id, password_hash=user.password_hash)
            if present is None:
                raise InvalidCredentials
            present.password_hash = better or present.password_hash
            return await self._open_session(tx, present, user_agent)

    async def refresh(self, refresh_token: str, *, request_id: str | None = None) -> SignedIn:
        """A fresh pair. Unauthenticated where the family is over, or ends here because of a copied token."""
        async with self._database.as_system(request_id=request_id) as tx:
            signed_in = await self._next_pair(tx, refresh_token, self._clock())
        if signed_in is None:  # raised out here: the end of a family commits
            raise Unauthenticated("this sign-in has ended; sign in again")
        return signed_in

    async def sign_out(self, refresh_token: str | None) -> None:
        """Ends the family; whoever is signed out already is told the same."""
        session_id = refresh_tokens.session_id(refresh_token or "")
        if session_id is None:
            return
        async with self._database.as_system() as tx:
            await repository.revoke_session(tx, session_id, self._clock())

    async def me(self, principal: Principal) -> Me:
        async with self._database.as_customer(principal.user_id) as tx:
            return _present(await repository.own_user(tx, principal.user_id))

    async def change_me(self, principal: Principal, changes: MyChanges) -> Me:
        given = changes.given()
        async with self._database.as_customer(principal.user_id) as tx:
            if not given:
                return _present(await repository.own_user(tx, principal.user_id))
            return _present(await repository.change_own_user(tx, principal.user_id, given))

    async def _open_session(self, tx: SystemTransaction, user: User, user_agent: str | None) -> SignedIn:
        now, session_id = self._clock(), new_id()
        token = refresh_tokens.first(session_id)
        session = Session(
            id=session_id,
            user_id=user.id,
            refresh_hash=refresh_tokens.stored_hash(token, self._secrets.index),
            rotated_at=now,
            authenticated_at=now,
            expires_at=now + refresh_tokens.LIFETIME,
            user_agent=user_agent and user_agent[:_LONGEST_USER_AGENT],
        )
        tx.session.add(session)
        return self._pair(session, user, token)

    async def _next_pair(self, tx: SystemTransaction, token: str, now: datetime) -> SignedIn | None:
        """None where there is none; what that changed is in the transaction."""
        session_id = refresh_tokens.session_id(token)
        found = session_id and await repository.lock_session(tx, session_id)
        if not found:
            return None
        session, user = found
        standing = refresh_tokens.standing(session, refresh_tokens.stored_hash(token, self._secrets.index), now)
        if standing is Standing.OVER:
            return None
        if standing is Standing.COPIED or not user.is_active:
            session.revoked_at = now
            cause = "refresh token reused" if standing is Standing.COPIED else "user suspended"
            await tx.audit("session.revoked", "session", session.id, user_id=str(user.id), cause=cause)
            return None
        successor = refresh_tokens.successor(token, self._secrets.index)
        if standing is Standing.CURRENT:
            session.previous_hash = session.refresh_hash
            session.refresh_hash = refresh_tokens.stored_hash(successor, self._secrets.index)
            session.rotated_at, session.expires_at = now, now + refresh_tokens.LIFETIME
        return self._pair(session, user, successor)

    def _pair(self, session: Session, user: User, refresh_token: str) -> SignedIn:
        principal = Principal(user.id, user.role, session.id, session.authenticated_at)
        return SignedIn(self._tokens.issue(principal), refresh_token)

    async def _register_again(
        self, tx: SystemTransaction, email: str, columns: dict[str, str | None], now: datetime
    ) -> None:
        user = await repository.lock_user(tx, email)
        if user is None or await repository.mails_since(tx, user.id, now - timedelta(hours=1)) >= MAILS_AN_HOUR:
            logger().warning("account.mail_withheld", user_id=str(user and user.id))
            return
        if user.email_verified_at is not None:
            await self._mail(tx, user, "account_exists", occasion=str(new_id()), now=now)
            return
        live_until = await repository.live_until(tx, user.id, TokenPurpose.VERIFY_EMAIL, now)
        if live_until is None:
            for name, value in columns.items():
                setattr(user, name, value)
        await self._mail_link(tx, user, live_until or now + VERIFY_LIFETIME, now)

    async def _mail_link(self, tx: SystemTransaction, user: User, expires_at: datetime, now: datetime) -> None:
        token = new_token()
        token_hash = self._one_time_hash(token)
        await repository.add_token(tx, user.id, TokenPurpose.VERIFY_EMAIL, token_hash=token_hash, expires_at=expires_at)
        sealed = self._secrets.sealer.seal(token.encode(), context=MAIL_TOKEN_CONTEXT)
        # The hash names the occasion: one token, one mail.
        occasion, token_sealed = token_hash.hex(), base64.b64encode(sealed).decode()
        await self._mail(tx, user, "verify_email", occasion=occasion, now=now, token_sealed=token_sealed)

    async def _mail(
        self, tx: SystemTransaction, user: User, template: str, *, occasion: str, now: datetime, **parameters: str
    ) -> None:
        mail_id = await repository.add_mail(
            tx,
            key=f"{template}:{occasion}",
            user_id=user.id,
            recipient=user.email,
            template=template,
            parameters={"full_name": user.full_name, **parameters},
            created_at=now,
        )
        await tx.enqueue(DeliverMail(mail_id))

    def _one_time_hash(self, token: str) -> bytes:
        return self._secrets.index.digest("one_time_token", token)


def check_choice(email: str, password: str) -> None:
    """InvalidInput, with everything that is wrong, where this address or this password is not taken."""
    faults = {"email": email_address.fault(email), "password": weakness(password, email=email)}
    errors = tuple(FieldError(field, detail) for field, detail in faults.items() if detail is not None)
    if errors:
        raise InvalidInput("; ".join(error.detail for error in errors), errors=errors)


def _present(user: User | None) -> Me:
    """A token outlives its user's account by up to a quarter of an hour."""
    if user is None or not user.is_active:
        raise Unauthenticated("this account is not active any more")
    return Me.of(user)
