"""Use cases of personal data: export and deletion of an account.

A deletion is one transaction: killed before its COMMIT, nothing has happened; after it, nobody can sign in and nothing
here names the person. It waits for whatever still takes money or can be paid (rules.py), and ends what is left. What
follows outside (Stripe's customer, the panels' accounts, a last mail) is in the outbox of the same transaction.

What the books need stays, under an id that leads to nobody: docs/decisions/0023-privacy.md.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final, Literal
from uuid import UUID

from billing_api.access.caller import Caller
from billing_api.access.permissions import Principal
from billing_api.access.staff_reason import StaffReason
from billing_api.identity.credentials.password_check import PasswordCheck, PasswordProof
from billing_api.identity.login_throttle import repository as guesses
from billing_api.identity.sessions import repository as sessions
from billing_api.identity.sessions.liveness import Liveness
from billing_api.identity.users import repository as users
from billing_api.licensing.licenses.schemas import effective_status
from billing_api.licensing.licenses.standing import change_standing
from billing_api.notifications.mails.service import Mails
from billing_api.operations.audit.repository import own_events
from billing_api.privacy import repository
from billing_api.privacy.inventory import HOLDINGS
from billing_api.privacy.rules import Ties, obstacles
from billing_api.privacy.schemas import Deletion, PersonalData, Row
from core.clock import Clock
from core.errors import Conflict, Refusal, Unauthenticated
from core.jobs import AlignAccount, ForgetCustomer
from core.licensing.state import Event, Status
from db.models.identity import Role, User
from db.models.licensing import License
from db.unit_of_work import Database, SystemTransaction, Transaction

MOST_ROWS: Final = 5_000
"""Of each table on a page of the export."""
NO_PASSWORD: Final = "!"  # noqa: S105  no hash: nothing fits it
_LIVE: Final = frozenset({Status.ACTIVE, Status.SUSPENDED})
_DELETED: Final = "its owner deleted the account"
_MAILS_COUNT_FOR: Final = timedelta(hours=1)


class DataExport:
    def __init__(self, database: Database, clock: Clock, *, most_rows: int = MOST_ROWS) -> None:
        self._database = database
        self._clock = clock
        self._most_rows = most_rows

    async def page(self, principal: Principal, page: int, caller: Caller) -> PersonalData:
        """Read as the customer wherever the session may, by the application where it may not: the same user's rows."""
        user_id, which = principal.user_id, {"page": page, "most": self._most_rows}
        made_at = self._clock()
        async with self._database.as_customer(user_id) as customer:
            tables = await self._tables(customer, "customer", user_id, page)
            tables["license_events"] = await repository.rows_of(customer, own_events(), **which)
        async with self._database.as_system(user_id, caller.request_id) as tx:
            tables |= await self._tables(tx, "system", user_id, page)
            tables["audit_log"] = await repository.audit_page(tx, user_id, **which)
            await tx.audit("account.exported", "user", user_id, page=page)
        has_more = any(len(rows) > self._most_rows for rows in tables.values())
        return PersonalData(
            made_at=made_at,
            page=page,
            next_page=page + 1 if has_more else None,
            tables={name: rows[: self._most_rows] for name, rows in tables.items()},
        )

    async def _tables(
        self, tx: Transaction, read_as: Literal["customer", "system"], user_id: UUID, page: int
    ) -> dict[str, Sequence[Row]]:
        return {
            holding.table: await repository.page_of(tx, holding, user_id, page=page, most=self._most_rows)
            for holding in HOLDINGS
            if holding.shown and holding.read_as == read_as
        }


class AccountDeletion:
    def __init__(
        self, database: Database, *, liveness: Liveness, check: PasswordCheck, mails: Mails, clock: Clock
    ) -> None:
        self._database = database
        self._liveness = liveness
        self._check = check
        self._mails = mails
        self._clock = clock

    async def delete(self, principal: Principal, order: Deletion, caller: Caller) -> None:
        """Conflict, with all that has to be done first, where something still binds the account."""
        proof = await self._check.by_session(principal, order.password, caller)
        speaking_for = self._database.as_system(principal.user_id, caller.request_id)
        async with self._liveness.revocation() as revocation, speaking_for as tx:
            refusal = await self._forget(tx, principal, proof, end_licenses=order.end_licenses)
            if refusal is None:
                await revocation.fence(principal.user_id)
        if refusal is not None:  # raised out here: that the password was right commits
            raise refusal

    async def _forget(
        self, tx: SystemTransaction, principal: Principal, proof: PasswordProof, *, end_licenses: bool
    ) -> Refusal | None:
        # Administrators first, and in one order: deleting one's own account and changing another's role take turns.
        administrators = await users.lock_administrators(tx) if principal.role is Role.ADMIN else set()
        user, now = await self._check.redeem(tx, proof), self._clock()
        if not user.is_active or user.role is not principal.role:
            return Unauthenticated("what you may do here has changed: sign in again with POST auth/login")
        # It may have ended while the password was hashed.
        if await sessions.live_role(tx, principal.session_id, user.id, now) is None:
            return Unauthenticated("this sign-in has ended: sign in again with POST auth/login")
        if administrators == {user.id}:
            return Conflict("you are the only administrator: give somebody else the role first")
        licenses = await repository.lock_licenses_not_ended(tx, user.id)
        in_the_way = obstacles(await self._ties(tx, user.id, licenses), now, end_licenses=end_licenses)
        if in_the_way:
            return Conflict("; ".join(in_the_way))
        await self._end(tx, licenses)
        signed_out = await sessions.end(tx, user.id, now)
        await repository.erase(tx, repository.only(user.id), mails_before=now - _MAILS_COUNT_FOR)
        await guesses.clear_account(tx, proof.guess.account)
        await self._mails.write(tx, user, "account_deleted", occasion=str(user.id), now=now)
        if user.stripe_customer_id is not None:
            await tx.enqueue(ForgetCustomer(user.id))
        await self._take_out_the_person(tx, user)
        await tx.audit("account.deleted", "user", user.id, licenses_ended=len(licenses), sessions_ended=len(signed_out))
        return None

    async def _ties(self, tx: SystemTransaction, user_id: UUID, licenses: Sequence[License]) -> Ties:
        now = self._clock()
        return Ties(
            renewing=await repository.renewing_subscriptions(tx, user_id),
            live_licenses=sum(effective_status(license_, now) in _LIVE for license_ in licenses),
            last_checkout=await repository.last_open_checkout(tx, user_id),
        )

    async def _end(self, tx: SystemTransaction, licenses: Sequence[License]) -> None:
        """All of them, also those that had expired: a panel keeps an account until its license is cancelled."""
        for license_ in licenses:
            words = StaffReason(_DELETED, _DELETED)
            told = await change_standing(tx, license_, Event.CANCELLED, words, self._clock())
            license_.status_reason = license_.status_message = _DELETED
            license_.grace_until, license_.auto_renew = None, False
            await tx.audit("license.cancelled", "license", license_.id, message=_DELETED)
            if not told:
                await tx.enqueue(AlignAccount(license_.id))
        await tx.session.flush()

    async def _take_out_the_person(self, tx: SystemTransaction, user: User) -> None:
        user.email = f"deleted+{user.id}@invalid"  # a name that never leads anywhere (RFC 2606)
        user.full_name, user.company_name, user.password_hash = "", None, NO_PASSWORD
        user.locale = user.time_zone = None
        user.is_active, user.deleted_at = False, self._clock()
        await tx.session.flush()
        await repository.reduce(tx, repository.only(user.id))
        await repository.reduce_events(tx, user.id)
