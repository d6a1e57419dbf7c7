"""SQL of service accounts, beside that of OAuth clients: another table, whose rows have no owner."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import Select, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import undefer

from core.errors import NotFound
from db.models.identity import ServiceAccount, User
from db.paging import Order
from db.unit_of_work import SystemTransaction

NEWEST_FIRST: Final = Order(ServiceAccount.created_at, ServiceAccount.id)
_SEEN_EVERY: Final = timedelta(minutes=1)
"""How exactly the last use is known."""
_SHOWN: Final = (
    ServiceAccount.id,
    ServiceAccount.name,
    ServiceAccount.scopes,
    ServiceAccount.networks,
    ServiceAccount.previous_until,
    ServiceAccount.revoked_at,
    ServiceAccount.last_used_at,
    ServiceAccount.last_used_address,
    ServiceAccount.created_at,
)


def every() -> Select[*tuple[Any, ...]]:
    """Revoked ones too. Without the hashes, which staff may not read."""
    return select(*_SHOWN)


async def lock_administrator(tx: SystemTransaction, user_id: UUID) -> None:
    """Until the transaction ends nobody suspends this user, ends all of the user's sessions or changes the role."""
    await tx.session.execute(select(User.id).where(User.id == user_id).with_for_update(read=True))


async def add(tx: SystemTransaction, **columns: Any) -> Any | None:
    """None where a live account has this name."""
    statement = insert(ServiceAccount).values(columns)
    free = statement.on_conflict_do_nothing(
        index_elements=[ServiceAccount.name], index_where=ServiceAccount.revoked_at.is_(None)
    )
    return (await tx.session.execute(free.returning(*_SHOWN))).one_or_none()


async def lock(tx: SystemTransaction, account_id: UUID) -> ServiceAccount:
    """Held against every other change until the transaction ends; with the hashes of its secrets."""
    statement = _with_hashes().where(ServiceAccount.id == account_id).with_for_update()
    account: ServiceAccount | None = await tx.session.scalar(statement)
    if account is None:
        raise NotFound("there is no such service account: list them with GET admin/service-accounts")
    return account


async def with_hashes(tx: SystemTransaction, account_id: UUID) -> ServiceAccount | None:
    """A live one, with the hashes of its secrets."""
    live = (ServiceAccount.id == account_id, ServiceAccount.revoked_at.is_(None))
    account: ServiceAccount | None = await tx.session.scalar(_with_hashes().where(*live))
    return account


class Rights(NamedTuple):
    scopes: Sequence[str]
    networks: Sequence[str]
    last_used_at: datetime | None


async def rights(tx: SystemTransaction, account_id: UUID) -> Rights | None:
    """None where there is no such live account."""
    live = (ServiceAccount.id == account_id, ServiceAccount.revoked_at.is_(None))
    statement = select(ServiceAccount.scopes, ServiceAccount.networks, ServiceAccount.last_used_at).where(*live)
    row = (await tx.session.execute(statement)).one_or_none()
    return None if row is None else Rights(*row)


async def note_use(
    tx: SystemTransaction, account_id: UUID, last_used_at: datetime | None, address: str, now: datetime
) -> None:
    """At most once a minute, and without a wait: a use that meets a lock is noted by the next one."""
    if last_used_at is not None and now - last_used_at < _SEEN_EVERY:
        return
    free = select(ServiceAccount.id).where(ServiceAccount.id == account_id).with_for_update(skip_locked=True)
    values = {"last_used_at": now, "last_used_address": address}
    noted = update(ServiceAccount).where(ServiceAccount.id.in_(free.scalar_subquery())).values(values)
    await tx.session.execute(noted.execution_options(synchronize_session=False))


def _with_hashes() -> Select[ServiceAccount]:
    return select(ServiceAccount).options(undefer(ServiceAccount.secret_hash), undefer(ServiceAccount.previous_hash))
