"""SQL of user administration, and of the account events that the owner may see."""

from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.errors import Conflict, Forbidden, NotFound
from core.mailbox import folded_part, mailbox_key
from db.models.identity import PERSON_TEXT, Role, User
from db.models.messaging import AuditRow
from db.paging import Order
from db.unit_of_work import PrivilegedTransaction, SystemTransaction

NEWEST_FIRST: Final = Order(User.created_at, User.id)
LATEST_FIRST: Final = Order(AuditRow.id)
IMPERSONATED: Final = "user.impersonated"
SUSPENDED: Final = "user.suspended"
RESUMED: Final = "user.resumed"
ROLE_CHANGED: Final = "user.role_changed"


class AccountStanding(NamedTuple):
    """A deleted user is not active either."""

    is_active: bool
    is_deleted: bool


def search(*, q: str | None, email: str | None, role: Role | None, standing: AccountStanding | None) -> Select[User]:
    """Every given condition must hold. `q` is a part of the address, the name or the company's name."""
    statement = select(User)
    if q is not None:
        statement = statement.where(PERSON_TEXT.contains(folded_part(q), autoescape=True))
    if email is not None:
        statement = statement.where(User.email_key == mailbox_key(email))
    if role is not None:
        statement = statement.where(User.role == role)
    if standing is not None:
        is_deleted = User.deleted_at.is_not(None)
        statement = statement.where(User.is_active == standing.is_active, is_deleted == standing.is_deleted)
    return statement


async def one(tx: PrivilegedTransaction, user_id: UUID) -> User:
    return _found(await tx.session.scalar(select(User).where(User.id == user_id)))


async def lock_for_administration(tx: SystemTransaction, user_id: UUID) -> User:
    """Locks the user and every active administrator. Forbidden where the actor is no administrator any more.

    One statement locks them all in one order. If two administrators remove each other's role at the same moment, the
    second waits and then has lost the right to do it. Nobody can remove their own role, so one administrator is always
    left. The user is locked in the same order and not afterwards, because the user may be an administrator too.
    """
    wanted = or_(_is_administrator(), User.id == user_id)
    statement = select(User).where(wanted).order_by(User.id).with_for_update()
    locked = {user.id: user for user in await tx.session.scalars(statement)}
    actor = locked.get(tx.actor_id) if tx.actor_id is not None else None
    if actor is None or not actor.is_active or actor.role is not Role.ADMIN:
        raise Forbidden("you are not an administrator any more: ask another administrator")
    user = _found(locked.get(user_id))
    if user.deleted_at is not None:
        raise Conflict("the owner has deleted this account: it cannot be changed any more")
    return user


async def lock_administrators(tx: SystemTransaction) -> set[UUID]:
    """All active administrators, always locked in the same order."""
    administrators = select(User.id).where(_is_administrator()).order_by(User.id)
    return set(await _locked(tx.session, administrators))


def _is_administrator() -> ColumnElement[bool]:
    return and_(User.role == Role.ADMIN, User.is_active)


async def written(tx: SystemTransaction, user: User) -> User:
    """Writes the user and reads it again, because the database sets `updated_at`."""
    await tx.session.flush()
    await tx.session.refresh(user)
    return user


def account_events(user_id: UUID) -> Select[AuditRow]:
    """What staff did to this account."""
    shown = (IMPERSONATED, SUSPENDED, RESUMED, ROLE_CHANGED)
    return select(AuditRow).where(
        AuditRow.target_kind == "user", AuditRow.target_id == str(user_id), AuditRow.action.in_(shown)
    )


async def _locked(session: AsyncSession, statement: Select[UUID]) -> list[UUID]:
    return list(await session.scalars(statement.with_for_update()))


def _found(user: User | None) -> User:
    if user is None:
        raise NotFound("there is no such user: search for users with GET admin/users")
    return user
