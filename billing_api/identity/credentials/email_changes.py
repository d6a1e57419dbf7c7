"""Another e-mail address: asked for with the password, good once its link was followed, undone by the old one.

    ask      two mails: a link to the new address, a notice to the old one. Nothing has changed.
    confirm  the address changes. Links that were mailed to the old one die; it gets a link to undo this, for a week.
    undo     the old address comes back. The intruder knows the password, and may have prepared a way back long before
             the change: no password fits any more, everything that lets somebody in ends (taking_back.py), and the
             old address is mailed a link to choose another password.

The old address can undo whatever came after it, also a change of a change: a thief gains nothing by changing twice. The
new address is looked at when it is confirmed, under the unique index: it may have been taken meanwhile. Who asks hears
the same either way; an address that has an account is told so itself. A registration that nobody has proved is no
account: it gives way to the user who proves the address, so that nobody keeps an owner out by typing the address in.
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

from sqlalchemy.exc import IntegrityError

from billing_api.access.caller import Caller
from billing_api.access.permissions import Principal
from billing_api.identity.credentials import email_address, repository
from billing_api.identity.credentials.access_revocation import end_everything
from billing_api.identity.credentials.password_check import PasswordCheck
from billing_api.identity.credentials.reset_links import ResetLinks
from billing_api.identity.sessions.liveness import Ending, Liveness
from billing_api.notifications.mails import repository as mail_repository
from billing_api.notifications.mails.service import MAILS_AN_HOUR, Mails
from core.clock import Clock
from core.errors import Conflict, FieldError, InvalidInput, TooManyRequests
from core.ids import new_id, new_token
from db.models.identity import EmailChange, User
from db.unit_of_work import Database, SystemTransaction

CONFIRM_LIFETIME: Final = timedelta(hours=24)
UNDO_LIFETIME: Final = timedelta(days=7)
NO_PASSWORD: Final = "!"  # noqa: S105  no hash: nothing fits it
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
        """The address, which is the user's from now on. Conflict where somebody else has it by now."""
        confirm_hash, now = self._mails.token_hash(token), self._clock()
        try:
            async with self._database.as_system(request_id=caller.request_id) as tx:
                found = await self._locked(tx, lambda: repository.change_to_confirm(tx, confirm_hash, now))
                if found is None or not found[0].is_active:
                    raise _bad_link("for a day")
                user, change = found
                await self._carry_out(tx, user, change)
                return change.new_email
        except IntegrityError as failure:
            raise Conflict("this address has another account by now; sign in there, or choose another") from failure

    async def undo(self, token: str, caller: Caller) -> str:
        """The address that the user has again. Conflict where it has another account by now."""
        undo_hash, now = self._mails.token_hash(token), self._clock()
        try:
            speaking_for_it = self._database.as_system(request_id=caller.request_id)
            async with self._liveness.ending() as ending, speaking_for_it as tx:
                found = await self._locked(tx, lambda: repository.change_to_undo(tx, undo_hash, now))
                if found is None:
                    raise _bad_link("for a week")
                user, change = found
                await self._put_back(tx, ending, user, change)
                return change.old_email
        except IntegrityError as failure:
            raise Conflict("this address has another account by now; write to support") from failure

    async def _begin(self, tx: SystemTransaction, user: User, email: str) -> None:
        now = self._clock()
        if email == user.email:
            raise InvalidInput("this is your address already", errors=(FieldError("email", "unchanged"),))
        if await repository.email_changes_since(tx, user.id, now - _HOUR) >= MAILS_AN_HOUR:
            raise TooManyRequests("the address was changed too often within an hour", retry_after=3600)
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
        await self._mails.write(
            tx, user, "email_change_asked", occasion=str(change.id), now=now, new_email=change.new_email
        )
        await self._write_to_the_new(tx, user, change, token)
        await tx.audit("email.change_asked", "user", user.id, change_id=str(change.id))

    async def _write_to_the_new(self, tx: SystemTransaction, user: User, change: EmailChange, token: str) -> None:
        """A stranger's mailbox, for all we know."""
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

    async def _locked(
        self, tx: SystemTransaction, look: Callable[[], Awaitable[EmailChange | None]]
    ) -> tuple[User, EmailChange] | None:
        """Looks, locks the user, and looks again: of two clicks at once the second finds nothing."""
        seen = await look()
        user = None if seen is None else await repository.lock_user(tx, seen.user_id)
        change = None if user is None else await look()
        return None if user is None or change is None else (user, change)

    async def _carry_out(self, tx: SystemTransaction, user: User, change: EmailChange) -> None:
        now, undo = self._clock(), new_token()
        change.confirmed_at, change.undo_until = now, now + UNDO_LIFETIME
        change.undo_hash = self._mails.token_hash(undo)
        await repository.release_address(tx, change.new_email, now)
        user.email, user.email_verified_at = change.new_email, now
        await tx.session.flush()
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

    async def _put_back(self, tx: SystemTransaction, ending: Ending, user: User, change: EmailChange) -> None:
        now = self._clock()
        await repository.release_address(tx, change.old_email, now)
        user.email, user.email_verified_at, user.password_hash = change.old_email, now, NO_PASSWORD
        await tx.session.flush()
        ended = await end_everything(tx, user.id, now, also_undoing=True)
        # Not as a job, which would count what has been mailed within the hour: an intruder may have used that up.
        await self._reset_links.write(tx, user, now)
        await tx.audit("email.restored", "user", user.id, change_id=str(change.id), **ended.facts())
        await ending.of(user.id)


def _bad_link(how_long: str) -> InvalidInput:
    return InvalidInput(
        f"this link is not good any more: it works once, {how_long}",
        errors=(FieldError("token", "unknown, used or expired"),),
    )
