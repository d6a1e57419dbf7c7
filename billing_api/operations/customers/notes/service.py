"""Notes about customers: staff write them, their authors and administrators change them, customers never see them.

Each change is in the audit trail, without the text: the trail cannot be erased, and notes must be, with the account
(docs/decisions/0039-staff-notes.md). A former text stays in a table of its own until then.
"""

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from billing_api.access.permissions import Principal
from billing_api.operations.customers.notes import repository
from billing_api.operations.customers.notes.schemas import ChangedNote, NewNote, NoteHistory, NoteView
from core.clock import Clock
from core.errors import Conflict, FieldError, Forbidden, InvalidInput
from core.ids import new_id
from db.models.customer_care import CustomerNote, CustomerNoteVersion
from db.models.identity import Role
from db.paging import Page, Paging, fetch_page
from db.unit_of_work import Database, StaffTransaction

MOST_FORMER: Final = 50
_KIND: Final = "customer_note"
"""The target's kind in the audit trail. Not `user`: what is about a user is in that user's export."""


class CustomerNotes:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def page(self, principal: Principal, user_id: UUID, paging: Paging, *, pinned: bool | None) -> Page[NoteView]:
        async with self._database.as_staff(principal.user_id) as tx:
            await repository.require_customer(tx, user_id)
            statement = repository.of_customer(user_id, pinned=pinned)
            found = await fetch_page(tx.session, statement, repository.NEWEST_FIRST, paging)
        return found.page(NoteView.of(repository.written(row)) for row in found.rows)

    async def one(self, principal: Principal, user_id: UUID, note_id: UUID) -> NoteHistory:
        async with self._database.as_staff(principal.user_id) as tx:
            written = await repository.one(tx, user_id, note_id)
            former = await repository.former(tx, note_id, MOST_FORMER + 1)
        return NoteHistory.of_all(written, former[:MOST_FORMER], more=len(former) > MOST_FORMER)

    async def add(self, principal: Principal, user_id: UUID, new: NewNote) -> NoteView:
        now = self._clock()
        note = CustomerNote(
            id=new_id(),
            user_id=user_id,
            author_id=principal.user_id,
            body=new.body,
            is_pinned=new.is_pinned,
            created_at=now,
            updated_at=now,
        )
        async with self._database.as_staff(principal.user_id) as tx:
            await repository.lock_customer(tx, user_id)
            tx.session.add(note)
            await tx.session.flush()
            await tx.audit("note.added", _KIND, note.id, user_id=str(user_id), is_pinned=new.is_pinned)
            return NoteView.of(await repository.one(tx, user_id, note.id))

    async def change(self, principal: Principal, user_id: UUID, note_id: UUID, order: ChangedNote) -> NoteView:
        """Conflict where somebody has written another text since `order.version` was read."""
        if order.body is msgspec.UNSET and order.is_pinned is msgspec.UNSET:
            missing = FieldError("body", "needs body or is_pinned")
            raise InvalidInput("the body changes nothing; send body or is_pinned", errors=(missing,))
        now = self._clock()
        async with self._database.as_staff(principal.user_id) as tx:
            note = await repository.lock(tx, user_id, note_id)
            if note.version != order.version:
                raise Conflict(f"the note has version {note.version} by now: read it again, then send that version")
            if order.body is not msgspec.UNSET and order.body != note.body:
                _require_right_to(principal, note, "rewrite")
                await _keep_former(tx, note)
                note.body, note.version, note.updated_at = order.body, note.version + 1, now
                note.editor_id = principal.user_id
                await tx.audit("note.edited", _KIND, note_id, user_id=str(user_id), version=note.version)
            if order.is_pinned is not msgspec.UNSET and order.is_pinned != note.is_pinned:
                note.is_pinned, note.updated_at = order.is_pinned, now
                action = "note.pinned" if note.is_pinned else "note.unpinned"
                await tx.audit(action, _KIND, note_id, user_id=str(user_id))
            await tx.session.flush()
            return NoteView.of(await repository.one(tx, user_id, note_id))

    async def delete(self, principal: Principal, user_id: UUID, note_id: UUID) -> None:
        now = self._clock()
        async with self._database.as_staff(principal.user_id) as tx:
            note = await repository.lock(tx, user_id, note_id)
            _require_right_to(principal, note, "delete")
            await _keep_former(tx, note)
            _take_text_out(note, principal, now)
            await tx.audit("note.deleted", _KIND, note_id, user_id=str(user_id), version=note.version)


async def _keep_former(tx: StaffTransaction, note: CustomerNote) -> None:
    tx.session.add(
        CustomerNoteVersion(
            note_id=note.id,
            version=note.version,
            user_id=note.user_id,
            author_id=note.editor_id or note.author_id,
            body=note.body,
            written_at=note.updated_at,
        )
    )
    await tx.session.flush()


def _take_text_out(note: CustomerNote, principal: Principal, now: datetime) -> None:
    note.body, note.version, note.is_pinned = "", note.version + 1, False
    note.editor_id, note.deleted_at, note.updated_at = principal.user_id, now, now


def _require_right_to(principal: Principal, note: CustomerNote, what: str) -> None:
    if principal.role is not Role.ADMIN and note.author_id != principal.user_id:
        raise Forbidden(f"only the author of a note, or an administrator, may {what} it: write a note of your own")
