"""Everything about a customer: one transaction, one statement for each part that the caller may see.

It is a wide look at somebody's data, so it is written into the audit trail, where the customer's export shows it.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from billing_api.access.permissions import Permission, Principal, may
from billing_api.commerce.invoices.schemas import InvoiceView
from billing_api.commerce.payments.schemas import PaymentView
from billing_api.commerce.subscriptions.schemas import SubscriptionView
from billing_api.identity.users import repository as users
from billing_api.identity.users.schemas import UserView
from billing_api.licensing.licenses.schemas import AdminLicenseView
from billing_api.licensing.licenses.views import ForStaff
from billing_api.operations.audit.schemas import AuditView
from billing_api.operations.audit.views import Named
from billing_api.operations.customers.everything import repository
from billing_api.operations.customers.everything.schemas import (
    PARTS,
    Everything,
    FactorState,
    LeftOut,
    MailView,
    OpenSession,
    PartName,
    UsedApiKey,
)
from billing_api.operations.customers.notes.repository import written
from billing_api.operations.customers.notes.schemas import NoteView
from core.clock import Clock
from db.unit_of_work import Database, StaffTransaction

NEEDS: Final[Mapping[PartName, Permission]] = {
    "licenses": Permission.LICENSES_VIEW,
    "subscriptions": Permission.BILLING_VIEW,
    "invoices": Permission.BILLING_VIEW,
    "payments": Permission.BILLING_VIEW,
    "api_keys": Permission.LICENSES_VIEW,
    "audit": Permission.AUDIT_VIEW,
    "mails": Permission.OPERATIONS_VIEW,
    "sessions": Permission.USERS_VIEW,
    "second_factor": Permission.USERS_VIEW,
    "notes": Permission.NOTES_VIEW,
}


class _Look(NamedTuple):
    tx: StaffTransaction
    user_id: UUID
    now: datetime


class _Part(NamedTuple):
    """What is shown of a part, and whether there is more of it."""

    shown: Any
    more: bool = False


class CustomerOverviews:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def everything(self, principal: Principal, user_id: UUID) -> Everything:
        now = self._clock()
        allowed = [part for part in PARTS if may(principal, NEEDS[part], reads=True)]
        async with self._database.as_staff(principal.user_id) as tx:
            user = await users.one(tx, user_id)
            look = _Look(tx, user_id, now)
            read = {part: await _READ[part](look) for part in allowed}
            await tx.audit("user.everything_viewed", "user", user_id, parts=allowed)
        shown: dict[str, Any] = {part: one.shown for part, one in read.items()}
        return Everything(
            as_of=now,
            user=UserView.of(user),
            **shown,
            more=[part for part, one in read.items() if one.more],
            left_out=[LeftOut(part, NEEDS[part]) for part in PARTS if part not in allowed],
        )


async def _licenses(look: _Look) -> _Part:
    found = await repository.newest(look.tx, repository.licenses_of(look.user_id))
    shown = [AdminLicenseView.of_row(ForStaff(*row), look.now) for row in found.rows]
    return _Part(shown, found.more)


async def _subscriptions(look: _Look) -> _Part:
    found = await repository.newest(look.tx, repository.subscriptions_of(look.user_id))
    return _Part([SubscriptionView.read(row) for row in found.rows], found.more)


async def _invoices(look: _Look) -> _Part:
    found = await repository.newest(look.tx, repository.invoices_of(look.user_id))
    return _Part([InvoiceView.of(row) for row in found.rows], found.more)


async def _payments(look: _Look) -> _Part:
    found = await repository.newest(look.tx, repository.payments_of(look.user_id))
    return _Part([PaymentView.of(row) for row in found.rows], found.more)


async def _api_keys(look: _Look) -> _Part:
    found = await repository.newest(look.tx, repository.api_keys_of(look.user_id))
    return _Part([UsedApiKey.of_row(row[0], look.now) for row in found.rows], found.more)


async def _audit(look: _Look) -> _Part:
    found = await repository.newest(look.tx, repository.audit_of(look.user_id))
    return _Part([AuditView.of(Named.of(*row)) for row in found.rows], found.more)


async def _mails(look: _Look) -> _Part:
    found = await repository.newest(look.tx, repository.mails_of(look.user_id))
    return _Part([MailView.of(row) for row in found.rows], found.more)


async def _sessions(look: _Look) -> _Part:
    found = await repository.newest(look.tx, repository.sessions_of(look.user_id, look.now))
    return _Part([OpenSession.of(row) for row in found.rows], found.more)


async def _second_factor(look: _Look) -> _Part:
    factor = await repository.second_factor(look.tx, look.user_id)
    blocked = factor.blocked_until
    return _Part(
        FactorState(
            in_use=factor.confirmed_at is not None,
            since=factor.confirmed_at,
            blocked_until=blocked if blocked is not None and blocked > look.now else None,
            unused_recovery_codes=factor.unused_codes,
        )
    )


async def _notes(look: _Look) -> _Part:
    found = await repository.newest(look.tx, repository.notes_of(look.user_id))
    return _Part([NoteView.of(written(row)) for row in found.rows], found.more)


_READ: Final[Mapping[PartName, Callable[[_Look], Awaitable[_Part]]]] = {
    "licenses": _licenses,
    "subscriptions": _subscriptions,
    "invoices": _invoices,
    "payments": _payments,
    "api_keys": _api_keys,
    "audit": _audit,
    "mails": _mails,
    "sessions": _sessions,
    "second_factor": _second_factor,
    "notes": _notes,
}
