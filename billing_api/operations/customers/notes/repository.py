"""SQL of staff's notes about a customer."""

from typing import Any, Final
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.orm import aliased

from billing_api.operations.audit.views import Account
from billing_api.operations.customers.notes.views import Former, Written
from core.errors import Conflict, NotFound
from db.models.customer_care import CustomerNote, CustomerNoteVersion
from db.models.identity import User
from db.paging import Order
from db.unit_of_work import StaffTransaction

NEWEST_FIRST: Final = Order(CustomerNote.created_at, CustomerNote.id)
_ACCOUNT: Final = 4
"""As many columns as `_account` has: service accounts write no notes."""
_AUTHOR: Final = aliased(User)
_EDITOR: Final = aliased(User)


async def require_customer(tx: StaffTransaction, user_id: UUID) -> None:
    """Refuses a user whom nobody knows. Notes of a deleted account are erased, so there are none to show."""
    if await tx.session.scalar(select(User.id).where(User.id == user_id)) is None:
        raise NotFound("there is no such user: search for users with GET admin/users")


async def lock_customer(tx: StaffTransaction, user_id: UUID) -> None:
    """So that a deletion of the account erases the note that is being written, or comes first and refuses it."""
    statement = select(User.id, User.deleted_at).where(User.id == user_id).with_for_update(key_share=True)
    found = (await tx.session.execute(statement)).one_or_none()
    if found is None:
        raise NotFound("there is no such user: search for users with GET admin/users")
    if found.deleted_at is not None:
        raise Conflict("the owner has deleted this account: nothing can be noted about it any more")


def of_customer(user_id: UUID, *, pinned: bool | None) -> Select[*tuple[Any, ...]]:
    """The notes that stand; each row makes a `Written`."""
    statement = _written().where(CustomerNote.user_id == user_id, CustomerNote.deleted_at.is_(None))
    return statement if pinned is None else statement.where(CustomerNote.is_pinned == pinned)


def newest_of(user_id: UUID, most: int) -> Select[*tuple[Any, ...]]:
    """Pinned ones first."""
    order = (CustomerNote.is_pinned.desc(), CustomerNote.created_at.desc(), CustomerNote.id.desc())
    return of_customer(user_id, pinned=None).order_by(*order).limit(most)


def written(row: Any) -> Written:
    """From a row of `of_customer`."""
    return Written(row[0], Account(*row[1 : 1 + _ACCOUNT]), Account(*row[1 + _ACCOUNT :]))


async def one(tx: StaffTransaction, user_id: UUID, note_id: UUID) -> Written:
    """Deleted ones as well."""
    statement = _written().where(CustomerNote.id == note_id, CustomerNote.user_id == user_id)
    row = (await tx.session.execute(statement.execution_options(populate_existing=True))).one_or_none()
    if row is None:
        raise NotFound("there is no such note about this user")
    return written(row)


async def former(tx: StaffTransaction, note_id: UUID, most: int) -> list[Former]:
    """The newest first."""
    statement = (
        select(CustomerNoteVersion, *_account(_AUTHOR))
        .outerjoin(_AUTHOR, _AUTHOR.id == CustomerNoteVersion.author_id)
        .where(CustomerNoteVersion.note_id == note_id)
        .order_by(CustomerNoteVersion.version.desc())
        .limit(most)
    )
    return [Former(row[0], Account(*row[1:])) for row in await tx.session.execute(statement)]


async def lock(tx: StaffTransaction, user_id: UUID, note_id: UUID) -> CustomerNote:
    """A note that stands, locked until the transaction ends."""
    stands = (CustomerNote.id == note_id, CustomerNote.user_id == user_id, CustomerNote.deleted_at.is_(None))
    note = await tx.session.scalar(select(CustomerNote).where(*stands).with_for_update())
    if note is None:
        raise NotFound("there is no such note about this user, or it was deleted")
    return note


def _written() -> Select[*tuple[Any, ...]]:
    return (
        select(CustomerNote, *_account(_AUTHOR), *_account(_EDITOR))
        .outerjoin(_AUTHOR, _AUTHOR.id == CustomerNote.author_id)
        .outerjoin(_EDITOR, _EDITOR.id == CustomerNote.editor_id)
    )


def _account(user: type[User]) -> tuple[Any, ...]:
    """The columns of an `Account`."""
    return (user.role, user.full_name, user.email, user.deleted_at)
