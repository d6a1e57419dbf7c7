"""Change of the e-mail address: asked for with the password, confirmed by the new address, undone by the old one.

    ask      two mails: a link to the new address, a notice to the old one. Nothing has changed yet.
    confirm  the address changes. Links that were mailed to the old one end; it gets a link to undo this, for a week.
    undo     the old address comes back. The intruder knows the password, and may have prepared other access long
             before. So the password is removed, all access ends (access_revocation.py), and the old address gets a
             link to choose another password.

The old address can undo everything that came after it, also a second change, so a thief gains nothing by changing
twice. Whether the new address is free is decided when it is confirmed, by the unique index, because it may have been
taken since. The answer to `ask` is the same either way; an address that has an account gets a mail that says so. A
registration that nobody has proved is no account: it gives way to the user who proves the address. So nobody can keep
an owner out by typing the address in.
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

from sqlalchemy.exc import IntegrityError

from billing_api.access.caller import Caller
from billing_api.access.permissions import Principal
from billing_api.identity.credentials import email_address, repository
from billing_api.identity.credentials.access_revocation import revoke_all_access
from billing_api.identity.credentials.password_check import PasswordCheck
from billing_api.identity.credentials.reset_links import ResetLinks
from billing_api.identity.sessions.liveness import Liveness, SessionRevocation
from billing_api.notifications.mails import repository as mail_repository
from billing_api.notifications.mails.service import MAILS_AN_HOUR, Mails
from core.clock import Clock
from core.errors import Conflict, FieldError, InvalidInput, TooManyRequests
from core.ids import new_id, new_token
from db.models.identity import EmailChange, User
from db.unit_of_work import Database, SystemTransaction

CONFIRM_LIFETIME: Final = timedelta(hours=24)
UNDO_LIFETIME: Final = timedelta(days=7)
NO_PASSWORD: Final = "!"  # noqa: S105  no hash: no password matches it
_HOUR: Final = timedelta(hours=1)


class EmailChanges:
    def __init__(
        self,
        database: Database,
        *,
        liveness: Liveness,
        check: PasswordCheck,
        mails: Mails,
        reset_links: ResetLinks,
        clock: Clock,
    ) -> None:
        self._database = database
        self._liveness = liveness
        self._check = check
        self._mails = mails
        self._reset_links = reset_links
        self._clock = clock

    async def ask(self, principal: Principal, email: str, password: str, caller: Caller) -> None:
        fault = email_address.fault(email)
        if fault is not None:
            raise InvalidInput(fault, errors=(FieldError("email", fault),))
        await self._liveness.require_factor(principal)
        proof = await self._check.by_session(principal, password, caller)
        async with self._database.as_system(principal.user_id, caller.request_id) as tx:
            user = await self._check.redeem_in_session(tx, proof, principal)
            await self._begin(tx, user, email)

    async def confirm(self, token: str, caller: Caller) -> str:
        """Returns the address, which is the user's from now on. Conflict where another account has it now."""
        confirm_hash, now = self._mails.token_hash(token), self._clock()
        try:
            async with self._database.as_system(request_id=caller.request_id) as tx:
                found = await self._lock(tx, lambda: repository.change_to_confirm(tx, confirm_hash, now))
                if found is None or not found[0].is_active:
                    raise _bad_link("for a day")
                user, change = found
                await self._apply(tx, user, change)
                return change.new_email
        except IntegrityError as failure:
            raise Conflict(
                "this address belongs to another account now: sign in there, or choose another address"
            ) from failure

    async def undo(self, token: str, caller: Caller) -> str:
        """Returns the address that the user has again. Conflict where another account has it now."""
        undo_hash, now = self._mails.token_hash(token), self._clock()
        try:
            speaking_for_it = self._database.as_system(request_id=caller.request_id)
            async with self._liveness.revocation() as revocation, speaking_for_it as tx:
                found = await self._lock(tx, lambda: repository.change_to_undo(tx, undo_hash, now))
                if found is None:
                    raise _bad_link("for a week")
                user, change = found
                await self._restore(tx, revocation, user, change)
                return change.old_email
        except IntegrityError as failure:
            raise Conflict("this address belongs to another account now: write to support") from failure

    async def _begin(self, tx: SystemTransaction, user: User, email: str) -> None:
        now = self._clock()
        if email == user.email:
            raise InvalidInput(
                "this is already your address: give another one", errors=(FieldError("email", "unchanged"),)
            )
        if await repository.email_changes_since(tx, user.id, now - _HOUR) >= MAILS_AN_HOUR:
            raise TooManyRequests("you asked for too many changes of address: wait an hour", retry_after=3600)
        # Store the pending change; an older one can no longer be confirmed.
        token = new_token()
        change = EmailChange(
            id=new_id(),
            user_id=user.id,
            old_email=user.email,
            new_email=email,
            confirm_hash=self._mails.token_hash(token),
            expires_at=now + CONFIRM_LIFETIME,
            created_at=now,
        )
        await repository.close_email_changes(tx, user.id, now)
        await repository.add_email_change(tx, change)
        # Tell the old address, and mail the link to the new one.
        await self._mails.write(
            tx, user, "email_change_asked", occasion=str(change.id), now=now, new_email=change.new_email
        )
        await self._write_to_new_address(tx, user, change, token)
        await tx.audit("email.change_asked", "user", user.id, change_id=str(change.id))

    async def _write_to_new_address(self, tx: SystemTransaction, user: User, change: EmailChange, token: str) -> None:
        """It may be a stranger's mailbox, so the number of mails to it is limited."""
        now, occasion = change.created_at, str(change.id)
        owner = await repository.proved_owner(tx, change.new_email)
        is_taken = owner is not None and owner.id != user.id
        template = "account_exists" if is_taken else "confirm_new_email"
        if await mail_repository.mails_to(tx, change.new_email, template, now - _HOUR) >= MAILS_AN_HOUR:
            return
        if owner is not None and is_taken:
            await self._mails.write(tx, owner, template, occasion=occasion, now=now)
        else:
            await self._mails.write(
                tx, user, template, occasion=occasion, now=now, recipient=change.new_email, token=token
            )

    async def _lock(
        self, tx: SystemTransaction, find: Callable[[], Awaitable[EmailChange | None]]
    ) -> tuple[User, EmailChange] | None:
        """Finds the change, locks its user, and finds it again: of two clicks at once the second finds nothing."""
        seen = await find()
        user = None if seen is None else await repository.lock_user(tx, seen.user_id)
        change = None if user is None else await find()
        return None if user is None or change is None else (user, change)

    async def _apply(self, tx: SystemTransaction, user: User, change: EmailChange) -> None:
        now, undo = self._clock(), new_token()
        change.confirmed_at, change.undo_until = now, now + UNDO_LIFETIME
        change.undo_hash = self._mails.token_hash(undo)
        # The unique index decides at the flush whether the address is free.
        await repository.release_address(tx, change.new_email, now)
        user.email, user.email_verified_at = change.new_email, now
        await tx.session.flush()
        # End the links that were mailed to the old address, and send it the link to undo this.
        await repository.close_email_changes(tx, user.id, now)
        await repository.end_reset_tokens(tx, user.id, now)
        await self._mails.write(
            tx,
            user,
            "email_changed",
            occasion=str(change.id),
            now=now,
            recipient=change.old_email,
            token=undo,
            new_email=change.new_email,
        )
        await tx.audit("email.changed", "user", user.id, change_id=str(change.id))

    async def _restore(
        self, tx: SystemTransaction, revocation: SessionRevocation, user: User, change: EmailChange
    ) -> None:
        now = self._clock()
        await repository.release_address(tx, change.old_email, now)
        user.email, user.email_verified_at, user.password_hash = change.old_email, now, NO_PASSWORD
        await tx.session.flush()
        ended = await revoke_all_access(tx, user.id, now, also_undoing=True)
        # Written here and not by a job: the job counts the mails of this hour, and an intruder may have used them up.
        await self._reset_links.write(tx, user, now)
        await tx.audit("email.restored", "user", user.id, change_id=str(change.id), **ended.audit_facts())
        await revocation.fence(user.id)


def _bad_link(how_long: str) -> InvalidInput:
    return InvalidInput(
        f"this link does not work any more: it works once, {how_long}; ask for a new one",
        errors=(FieldError("token", "unknown, used or expired"),),
    )
