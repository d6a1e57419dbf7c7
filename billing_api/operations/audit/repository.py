"""Every SQL statement about the audit trail, but for adding a row, which db/unit_of_work.py does."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    DateTime,
    Select,
    Text,
    Uuid,
    bindparam,
    cast,
    column,
    delete,
    func,
    insert,
    select,
    table,
    true,
    union,
)
from sqlalchemy.dialects.postgresql import JSONB

from core.crypto.audit_chain import EMPTY, Entry, Head
from core.mailbox import mailbox_key
from db.clock import STATEMENT_NOW
from db.models.audit import AuditSeal, AuditUnsealed
from db.models.identity import Role, ServiceAccount, User
from db.models.licensing import License
from db.models.messaging import AuditRow
from db.paging import Order
from db.reads import OwnList
from db.unit_of_work import SystemTransaction

_EVENTS: Final = table(
    "license_events",
    column("id", BigInteger()),
    column("license_id", Uuid()),
    column("at", DateTime(timezone=True)),
    column("action", Text()),
    column("actor", Text()),
    column("detail", JSONB()),
)
NEWEST_FIRST: Final = Order(AuditRow.id)
EVENTS: Final = OwnList(
    select(_EVENTS.c.id, _EVENTS.c.at, _EVENTS.c.action, _EVENTS.c.actor, _EVENTS.c.detail).where(
        _EVENTS.c.license_id == bindparam("license_id", type_=Uuid())
    ),
    Order(_EVENTS.c.id),
)
"""The events that a license's owner is shown, the newest first; the view hides other customers' licenses."""
_ENTRY: Final = (
    AuditRow.id,
    AuditRow.at,
    AuditRow.actor_id,
    AuditRow.action,
    AuditRow.target_kind,
    AuditRow.target_id,
    cast(AuditRow.detail, Text()).label("detail"),
    AuditRow.request_id,
)


class Link(NamedTuple):
    """A seal with its row; `entry` is None where the row is gone."""

    position: int
    audit_id: int
    seal: bytes
    kid: str
    sealed_at: datetime
    entry: Entry | None


class Waiting(NamedTuple):
    """Rows without a seal: those announced to the sealer, with the age of the oldest, and those never announced."""

    rows: int
    oldest_seconds: float
    unannounced: int
    first_unannounced: int | None


SYSTEM: Final = "system"
"""The actor of what the application does by itself."""


def named() -> Select[AuditRow, Role, str, str, datetime | None, str]:
    """All entries, each a `Named`: the actors' accounts come by joins. No two kinds of actors share an id."""
    account = (User.role, User.full_name, User.email, User.deleted_at, ServiceAccount.name)
    statement = select(AuditRow, *account).outerjoin(User, User.id == AuditRow.actor_id)
    return statement.outerjoin(ServiceAccount, ServiceAccount.id == AuditRow.actor_id)


def search(
    *,
    actor_id: UUID | None,
    actor: str | None,
    action: str | None,
    target_kind: str | None,
    target_id: str | None,
    since: datetime | None,
    until: datetime | None,
) -> Select[AuditRow, Role, str, str, datetime | None, str]:
    """Every given condition must hold. `actor`: `SYSTEM`, or a user's e-mail address."""
    statement = named()
    if actor == SYSTEM:
        statement = statement.where(AuditRow.actor_id.is_(None))
    elif actor is not None:
        addressed = select(User.id).where(User.email_key == mailbox_key(actor)).scalar_subquery()
        statement = statement.where(AuditRow.actor_id == addressed)
    equal = {"actor_id": actor_id, "action": action, "target_kind": target_kind, "target_id": target_id}
    for name, value in equal.items():
        if value is not None:
            statement = statement.where(getattr(AuditRow, name) == value)
    if since is not None:
        statement = statement.where(AuditRow.at >= since)
    if until is not None:
        statement = statement.where(AuditRow.at < until)
    return statement


def concerning(user_id: UUID, most: int) -> Select[AuditRow, Role, str, str, datetime | None, str]:
    """The newest entries of what the user did, and of what was done to the account or its licenses.

    Each of the three is found by its own index. `id + 0`, because the planner would rather walk all of the trail from
    its end, until it has met enough of these.
    """
    newest = (AuditRow.id + 0).desc()
    own = select(AuditRow.id).where(AuditRow.actor_id == user_id)
    on_account = select(AuditRow.id).where(AuditRow.target_kind == "user", AuditRow.target_id == str(user_id))
    on_license = (
        select(AuditRow.id)
        .where(AuditRow.target_kind == "license", AuditRow.target_id == cast(License.id, Text()))
        .order_by(newest)
        .limit(most)
        .correlate(License)
        .lateral()
    )
    on_licenses = (
        select(on_license.c.id).select_from(License).join(on_license, true()).where(License.user_id == user_id)
    )
    found = union(
        own.order_by(newest).limit(most).subquery().select(),
        on_account.order_by(newest).limit(most).subquery().select(),
        on_licenses.order_by((on_license.c.id + 0).desc()).limit(most).subquery().select(),
    ).subquery()
    return named().where(AuditRow.id.in_(select(found.c.id))).order_by(AuditRow.id.desc()).limit(most)


def own_events() -> Select[*tuple[Any, ...]]:
    """The same of all licenses of the session's customer, oldest first."""
    shown = select(_EVENTS.c.license_id, _EVENTS.c.at, _EVENTS.c.action, _EVENTS.c.actor, _EVENTS.c.detail)
    return shown.order_by(_EVENTS.c.id)


async def head(tx: SystemTransaction) -> Head:
    newest = select(AuditSeal.position, AuditSeal.seal).order_by(AuditSeal.position.desc()).limit(1)
    row = (await tx.session.execute(newest)).one_or_none()
    return EMPTY if row is None else Head(row.position, row.seal)


async def seal_at(tx: SystemTransaction, position: int) -> bytes | None:
    seal: bytes | None = await tx.session.scalar(select(AuditSeal.seal).where(AuditSeal.position == position))
    return seal


async def unsealed(tx: SystemTransaction, most: int) -> list[Entry]:
    """Committed rows that wait for their seal, by their ids."""
    statement = (
        select(*_ENTRY).join(AuditUnsealed, AuditUnsealed.audit_id == AuditRow.id).order_by(AuditRow.id).limit(most)
    )
    return [Entry._make(row) for row in await tx.session.execute(statement)]


async def add_seals(tx: SystemTransaction, kid: str, sealed_at: datetime, sealed: Sequence[tuple[Entry, Head]]) -> None:
    rows = [
        {"position": head.position, "audit_id": entry.id, "seal": head.seal, "kid": kid, "sealed_at": sealed_at}
        for entry, head in sealed
    ]
    await tx.session.execute(insert(AuditSeal), rows)
    done = delete(AuditUnsealed).where(AuditUnsealed.audit_id.in_([entry.id for entry, _ in sealed]))
    await tx.session.execute(done.execution_options(synchronize_session=False))


async def links_after(tx: SystemTransaction, position: int, most: int) -> list[Link]:
    """The chain as it stands, in its order."""
    statement = (
        select(AuditSeal.position, AuditSeal.audit_id, AuditSeal.seal, AuditSeal.kid, AuditSeal.sealed_at, *_ENTRY)
        .outerjoin(AuditRow, AuditRow.id == AuditSeal.audit_id)
        .where(AuditSeal.position > position)
        .order_by(AuditSeal.position)
        .limit(most)
    )
    return [_link(*row) for row in await tx.session.execute(statement)]


async def count_seals(tx: SystemTransaction) -> int:
    return await tx.session.scalar(select(func.count()).select_from(AuditSeal)) or 0


async def waiting(tx: SystemTransaction) -> Waiting:
    """Reads all of the trail: for the proof, not for every minute."""
    announced = AuditUnsealed.audit_id.is_not(None)
    age = func.extract("epoch", STATEMENT_NOW - func.min(AuditRow.at).filter(announced))
    statement = (
        select(
            func.count().filter(announced),
            func.coalesce(age, 0),
            func.count().filter(~announced),
            func.min(AuditRow.id).filter(~announced),
        )
        .select_from(AuditRow)
        .outerjoin(AuditSeal, AuditSeal.audit_id == AuditRow.id)
        .outerjoin(AuditUnsealed, AuditUnsealed.audit_id == AuditRow.id)
        .where(AuditSeal.position.is_(None))
    )
    rows, oldest, unannounced, first = (await tx.session.execute(statement)).one()
    return Waiting(rows, float(oldest), unannounced, first)


async def backlog(tx: SystemTransaction) -> tuple[int, float]:
    """How many rows the sealer still has to do, and the age of the oldest in seconds."""
    age = func.extract("epoch", STATEMENT_NOW - func.min(AuditRow.at))
    statement = select(func.count(), func.coalesce(age, 0)).join(AuditUnsealed, AuditUnsealed.audit_id == AuditRow.id)
    rows, oldest = (await tx.session.execute(statement)).one()
    return rows, float(oldest)


def _link(position: int, audit_id: int, seal: bytes, kid: str, sealed_at: datetime, *entry: Any) -> Link:
    return Link(position, audit_id, seal, kid, sealed_at, None if entry[0] is None else Entry(*entry))
