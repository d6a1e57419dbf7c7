"""Password change: with the present password, or with a mailed link (password reset).

In both cases every session and every open link ends, and pending changes of address are dropped, because an intruder
may have begun them. The owner gets a mail. A reset is also how an owner takes an account back from an intruder who
knows the password. So it ends the second factor and the OAuth clients too (access_revocation.py). If the intruder has
changed the address, the old address can still undo that.

A new password is checked and hashed before the transaction. A weak one does not use up the link.
"""

from uuid import UUID

from billing_api.access.caller import Caller
from billing_api.access.permissions import Principal
from billing_api.identity.credentials import repository
from billing_api.identity.credentials.access_revocation import RevokedAccess, revoke_all_access
from billing_api.identity.credentials.password_check import PasswordCheck
from billing_api.identity.credentials.password_hashing import Passwords
from billing_api.identity.sessions.liveness import Liveness, SessionRevocation
from billing_api.identity.sessions.sign_in import SignedIn, SignIns
from billing_api.notifications.mails import repository as mail_repository
from billing_api.notifications.mails.service import Mails
from core.clock import Clock
from core.errors import FieldError, InvalidInput
from core.ids import new_id
from db.models.identity import TokenPurpose, User
from db.unit_of_work import Database, SystemTransaction


class CredentialService:
    def __init__(
        self,
        database: Database,
        *,
        liveness: Liveness,
        passwords: Passwords,
        check: PasswordCheck,
        sign_ins: SignIns,
        mails: Mails,
        clock: Clock,
    ) -> None:
        self._database = database
        self._liveness = liveness
        self._passwords = passwords
        self._check = check
        self._sign_ins = sign_ins
        self._mails = mails
        self._clock = clock

    async def change_password(self, principal: Principal, current: str, new: str, caller: Caller) -> SignedIn:
        """Ends every session, this one too, and opens a new one, so that a copied token of this one is useless."""
        proof = await self._check.by_session(principal, current, caller)
        new_hash = await self._hash(new, proof.user, field="new_password")
        speaking_for = self._database.as_system(principal.user_id, caller.request_id)
        async with self._liveness.revocation() as revocation, speaking_for as tx:
            user = await self._check.redeem_in_session(tx, proof, principal)
            now = self._clock()
            await repository.end_reset_tokens(tx, user.id, now)
            await repository.close_email_changes(tx, user.id, now)
            ended = RevokedAccess(await repository.end_sessions(tx, user.id, now))
            await self._set_password(tx, revocation, user, new_hash, act="password.changed", ended=ended)
            return self._sign_ins.open(tx, user, caller, amr=principal.amr)

    async def reset_password(self, token: str, password: str, caller: Caller) -> str:
        """Returns a device cookie: a user who reads the owner's mail need not wait because of strangers' guesses."""
        # Find the owner, and check and hash the password before the transaction.
        token_hash = self._mails.token_hash(token)
        async with self._database.as_system() as tx:
            owner = await repository.reset_token_owner(tx, token_hash, self._clock())
        if owner is None:
            raise _bad_link()
        new_hash = await self._hash(password, owner, field="password")
        # Use up the link, end all access, and set the password.
        speaking_for = self._database.as_system(owner.id, caller.request_id)
        async with self._liveness.revocation() as revocation, speaking_for as tx:
            user = await self._spend(tx, owner.id, token_hash)
            if user is None:
                raise _bad_link()
            ended = await revoke_all_access(tx, user.id, self._clock())
            await self._set_password(tx, revocation, user, new_hash, act="password.reset", ended=ended)
        return self._sign_ins.devices.cookie_for(caller.device, owner.id)

    async def _spend(self, tx: SystemTransaction, user_id: UUID, token_hash: bytes) -> User | None:
        """The lock comes first: of two resets at once the second finds its token used."""
        user = await repository.lock_user(tx, user_id)
        spent = await mail_repository.spend_token(tx, TokenPurpose.RESET_PASSWORD, token_hash, self._clock())
        return user if spent == user_id and user is not None and user.is_active else None

    async def _hash(self, password: str, user: User, *, field: str) -> str:
        with self._passwords.slot() as slot:
            fault = await slot.weakness(password, (user.email, user.full_name, user.company_name))
            if fault is not None:
                raise InvalidInput(fault, errors=(FieldError(field, fault),))
            return await slot.hash(password)

    async def _set_password(
        self,
        tx: SystemTransaction,
        revocation: SessionRevocation,
        user: User,
        new_hash: str,
        *,
        act: str,
        ended: RevokedAccess,
    ) -> None:
        user.password_hash = new_hash
        await self._mails.write(
            tx, user, "password_changed", occasion=str(new_id()), now=self._clock(), ended=ended.mail_text()
        )
        await tx.audit(act, "user", user.id, **ended.audit_facts())
        await revocation.fence(user.id)


def _bad_link() -> InvalidInput:
    return InvalidInput(
        "this link does not work any more: it works once, for an hour; ask for a new one",
        errors=(FieldError("token", "unknown, used or expired"),),
    )
