"""Notes about customers over HTTP, for staff."""

from typing import Annotated
from uuid import UUID

from litestar import Controller, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from billing_api.access.permissions import Permission, Principal
from billing_api.operations.customers.notes.schemas import ChangedNote, NewNote, NoteHistory, NoteView
from billing_api.operations.customers.notes.service import CustomerNotes
from db.paging import Page, Paging


class AdminNoteController(Controller):
    path = "/admin/users/{user_id:uuid}/notes"
    tags = ("admin",)

    @get("/", permission=Permission.NOTES_VIEW, summary="Notes of staff about a customer")
    async def list_customer_notes(
        self,
        principal: NamedDependency[Principal],
        customer_notes: NamedDependency[CustomerNotes],
        paging: NamedDependency[Paging],
        user_id: FromPath[UUID],
        pinned: Annotated[bool | None, QueryParameter(description="Only pinned notes, or only the others.")] = None,
    ) -> Page[NoteView]:
        """Newest first. The customer never sees them."""
        return await customer_notes.page(principal, user_id, paging, pinned=pinned)

    @post("/", permission=Permission.NOTES_CHANGE, summary="Write a note about a customer")
    async def add_customer_note(
        self,
        principal: NamedDependency[Principal],
        customer_notes: NamedDependency[CustomerNotes],
        user_id: FromPath[UUID],
        data: JSONBody[NewNote],
    ) -> NoteView:
        """It is erased with the customer's account."""
        return await customer_notes.add(principal, user_id, data)

    @get("/{note_id:uuid}", permission=Permission.NOTES_VIEW, summary="A note with its former texts")
    async def get_customer_note(
        self,
        principal: NamedDependency[Principal],
        customer_notes: NamedDependency[CustomerNotes],
        user_id: FromPath[UUID],
        note_id: FromPath[UUID],
    ) -> NoteHistory:
        """A deleted note as well, for as long as the customer's account exists."""
        return await customer_notes.one(principal, user_id, note_id)

    @patch("/{note_id:uuid}", permission=Permission.NOTES_CHANGE, summary="Rewrite a note, or pin it")
    async def change_customer_note(
        self,
        principal: NamedDependency[Principal],
        customer_notes: NamedDependency[CustomerNotes],
        user_id: FromPath[UUID],
        note_id: FromPath[UUID],
        data: JSONBody[ChangedNote],
    ) -> NoteView:
        """Everybody who writes notes may pin one; the text is changed by its author or an administrator."""
        return await customer_notes.change(principal, user_id, note_id, data)

    @delete("/{note_id:uuid}", permission=Permission.NOTES_CHANGE, status_code=204, summary="Delete a note")
    async def delete_customer_note(
        self,
        principal: NamedDependency[Principal],
        customer_notes: NamedDependency[CustomerNotes],
        user_id: FromPath[UUID],
        note_id: FromPath[UUID],
    ) -> None:
        """By its author or an administrator. Its text stays among the former ones until the account is deleted."""
        await customer_notes.delete(principal, user_id, note_id)
