"""Search: one text of a member of staff, asked of every kind that it may be and that the caller may see."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from billing_api.access.permissions import Permission, Principal, may
from billing_api.licensing.licenses.schemas import effective_status
from billing_api.operations.search import repository
from billing_api.operations.search.repository import MOST, Found
from billing_api.operations.search.rules import Asked, recognize
from billing_api.operations.search.schemas import Kind, SearchAnswer, SearchGroup, SearchResult
from core.clock import Clock
from core.errors import FieldError, InvalidInput
from core.licensing import key as license_key
from core.money import Money
from core.settings import Secrets
from db.models.identity import Role
from db.unit_of_work import Database

_WHOLE_KEY: Final = (
    "is a whole license key, and addresses are written to logs: POST it to /api/v1/admin/licenses/find-by-key,"
    " or search for its last four symbols"
)
_ADMIN: Final = "/api/v1/admin"


class SearchService:
    def __init__(self, database: Database, secrets: Secrets, clock: Clock) -> None:
        self._database = database
        self._secrets = secrets
        self._clock = clock

    async def search(self, principal: Principal, text: str) -> SearchAnswer:
        if license_key.parse(text, self._secrets.license_checksum_key) is not None:
            raise InvalidInput(f"q {_WHOLE_KEY}", errors=(FieldError("q", _WHOLE_KEY),))
        asked, now = recognize(text), self._clock()
        async with self._database.as_staff(principal.user_id, by_index=True) as tx:
            groups = [_group("user", await _users(tx.session, asked), _user, now)]
            for one in _ASKING:
                statement = one.statement(asked) if may(principal, one.permission, reads=True) else None
                if statement is not None:
                    groups.append(_group(one.kind, (await tx.session.execute(statement)).all(), one.shown, now))
        return SearchAnswer([group for group in groups if group.items])


async def _users(session: AsyncSession, asked: Asked) -> Sequence[Any]:
    """By an id; or the owner of exactly this address, and then those who have the part in their address or name."""
    if (by_id := repository.users_by_id(asked)) is not None:
        return (await session.execute(by_id)).all()
    found: dict[UUID, Any] = {}
    for statement in _by_text(asked):
        found |= {row.id: row for row in (await session.execute(statement)).all() if row.id not in found}
        if len(found) > MOST:
            break
    return list(found.values())


def _by_text(asked: Asked) -> Sequence[Found]:
    """In this order, until there are enough: a frequent part ends with the second, a rare one needs the third."""
    by_address = [] if asked.address is None else [repository.user_by_address(asked.address)]
    if asked.part is None:
        return by_address
    return [*by_address, repository.newest_users_by_part(asked.part), repository.users_by_part(asked.part)]


def _group(
    kind: Kind, rows: Sequence[Any], shown: Callable[[Any, datetime], SearchResult], now: datetime
) -> SearchGroup:
    return SearchGroup(kind=kind, items=[shown(row, now) for row in rows[:MOST]], more=len(rows) > MOST)


def _user(row: Any, _now: datetime) -> SearchResult:
    standing = "deleted" if row.deleted_at is not None else "active" if row.is_active else "suspended"
    return SearchResult(
        kind="user",
        id=row.id,
        title=row.email,
        subtitle=_told(
            row.full_name, row.company_name, None if row.role is Role.CUSTOMER else row.role.value, standing
        ),
        link=f"{_ADMIN}/users/{row.id}",
    )


def _license(row: Any, now: datetime) -> SearchResult:
    license_, plan, email = row
    hint = "" if license_.key_hint is None else f" …{license_.key_hint}"
    return SearchResult(
        kind="license",
        id=license_.id,
        title=f"{plan}{hint}",
        subtitle=_told(email, effective_status(license_, now).value),
        link=f"{_ADMIN}/licenses/{license_.id}",
    )


def _subscription(row: Any, _now: datetime) -> SearchResult:
    subscription, plan, email = row
    return SearchResult(
        kind="subscription",
        id=subscription.id,
        title=subscription.stripe_subscription_id,
        subtitle=_told(email, plan, subscription.status.value),
        link=f"{_ADMIN}/licenses/{subscription.license_id}",
    )


def _invoice(row: Any, _now: datetime) -> SearchResult:
    invoice, email = row
    return SearchResult(
        kind="invoice",
        id=invoice.id,
        title=invoice.number or invoice.stripe_invoice_id,
        subtitle=_told(email, str(Money(invoice.amount_due, invoice.currency)), invoice.status.value),
        link=f"{_ADMIN}/users/{invoice.user_id}/everything",
    )


def _payment(row: Any, _now: datetime) -> SearchResult:
    payment, email = row
    return SearchResult(
        kind="payment",
        id=payment.id,
        title=payment.stripe_payment_intent_id,
        subtitle=_told(email, str(Money(payment.amount, payment.currency)), payment.status.value),
        link=f"{_ADMIN}/users/{payment.user_id}/everything",
    )


def _told(*facts: str | None) -> str:
    return " · ".join(fact for fact in facts if fact)


class _Asking(NamedTuple):
    """How one kind is asked for, who may see it, and how a row of it is shown."""

    kind: Kind
    permission: Permission
    statement: Callable[[Asked], Found | None]
    shown: Callable[[Any, datetime], SearchResult]


_ASKING: Final = (
    _Asking("license", Permission.LICENSES_VIEW, repository.licenses, _license),
    _Asking("subscription", Permission.USERS_VIEW, repository.subscriptions, _subscription),
    _Asking("invoice", Permission.USERS_VIEW, repository.invoices, _invoice),
    _Asking("payment", Permission.USERS_VIEW, repository.payments, _payment),
)
