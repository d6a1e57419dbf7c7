"""Setting a password anew: with the present one, or with a link that was mailed.

Either way every session ends, outstanding links die, and changes of address that wait for their link are dropped, for
somebody else may have begun them. The owner is told by mail. A link that was mailed is also how an account is taken
back from somebody who knows the password: it ends the second factor and the OAuth clients too (taking_back.py). Where
it was the mailbox that was changed, the one before can still undo that.

A new password is judged and hashed before the transaction; a weak one leaves the link as good as it was.
"""

from uuid import UUID

from billing_api.access.caller import Caller
from billing_api.access.permissions import Principal
from billing_api.identity.credentials import repository
from billing_api.identity.credentials.access_revocation import Ended, end_everything
from billing_api.identity.credentials.password_check import PasswordCheck
from billing_api.identity.credentials.password_hashing import Passwords
from billing_api.identity.sessions.liveness import Ending, Liveness
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
        """Ends every session, this one too, and opens another: a thief who copied a token of it has nothing."""
        proof = await self._check.by_session(principal, current, caller)
        new_hash = await self._hash(new, proof.user, field="new_password")
        speaking_for = self._database.as_system(principal.user_id, caller.request_id)
        async with self._liveness.ending() as ending, speaking_for as tx:
            user = await self._check.redeem_in_session(tx, proof, principal)
            now = self._clock()
            await repository.end_reset_tokens(tx, user.id, now)
            await repository.close_email_changes(tx, user.id, now)
            ended = Ended(await repository.end_sessions(tx, user.id, now))
            await self._take_over(tx, ending, user, new_hash, act="password.changed", ended=ended)
            return self._sign_ins.open(tx, user, caller, amr=principal.amr)

    async def reset_password(self, token: str, password: str, caller: Caller) -> str:
        """The device's new mark: who can read the owner's mail need not wait for strangers' guesses to end."""
        token_hash = self._mails.token_hash(token)
        async with self._database.as_system() as tx:
            owner = await repository.reset_token_owner(tx, token_hash, self._clock())
        if owner is None:
            raise _bad_link()
        new_hash = await self._hash(password, owner, field="password")
        speaking_for = self._database.as_system(owner.id, caller.request_id)
        async with self._liveness.ending() as ending, speaking_for as tx:
            user = await self._spend(tx, owner.id, token_hash)
            if user is None:
                raise _bad_link()
            ended = await end_everything(tx, user.id, self._clock())
            await self._take_over(tx, ending, user, new_hash, act="password.reset", ended=ended)
        return self._sign_ins.devices.mark(caller.device, owner.id)

    async def _spend(self, tx: SystemTransaction, user_id: UUID, token_hash: bytes) -> User | None:
        """The lock comes first: of two resets at once the second finds its token spent."""
        user = await repository.lock_user(tx, user_id)
        spent = await mail_repository.spend_token(tx, TokenPurpose.RESET_PASSWORD, token_hash, self._clock())
        return user if spent == user_id and user is not None and user.is_active else None

    async def _hash(self, password: str, user: User, *, field: str) -> str:
        with self._passwords.turn() as turn:
            fault = await turn.weakness(password, (user.email, user.full_name, user.company_name))
            if fault is not None:
                raise InvalidInput(fault, errors=(FieldError(field, fault),))
            return await turn.hash(password)

    async def _take_over(
        self, tx: SystemTransaction, ending: Ending, user: User, new_hash: str, *, act: str, ended: Ended
    ) -> None:
        user.password_hash = new_hash
        await self._mails.write(
            tx, user, "password_changed", occasion=str(new_id()), now=self._clock(), ended=ended.in_words()
        )
        await tx.audit(act, "user", user.id, **ended.facts())
        await ending.of(user.id)


def _bad_link() -> InvalidInput:
    return InvalidInput(
        "this link is not good any more: it works once, for an hour; ask for another one",
        errors=(FieldError("token", "unknown, used or expired"),),
    )
