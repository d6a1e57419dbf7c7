"""Customer care: notes of staff about a customer, and the former texts of notes that were edited or deleted."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.columns import CreatedAt, RowId, Table, UpdatedAt


class CustomerNote(Table):
    """A note about the customer `user_id`, whom the database never shows it to.

    `editor_id`: who wrote the present text, where it is not the author. `version` counts texts. A deleted note has no
    text of its own any more.
    """

    __tablename__ = "customer_notes"
    __table_args__ = (Index("ix_customer_notes_user_id_created_at_id", "user_id", "created_at", "id"),)

    id: Mapped[RowId]
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"))
    author_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"))
    editor_id: Mapped[UUID | None] = mapped_column(ForeignKey("users.id"))
    body: Mapped[str]
    is_pinned: Mapped[bool] = mapped_column(server_default=text("false"), default=False)
    version: Mapped[int] = mapped_column(server_default=text("1"), default=1)
    deleted_at: Mapped[datetime | None]
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]


class CustomerNoteVersion(Table):
    """A former text of a note, and who had written it."""

    __tablename__ = "customer_note_versions"

    note_id: Mapped[UUID] = mapped_column(ForeignKey("customer_notes.id", ondelete="CASCADE"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"), index=True)
    author_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"))
    body: Mapped[str]
    written_at: Mapped[datetime]
