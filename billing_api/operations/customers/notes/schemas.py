"""Notes on the wire."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from msgspec import Meta

from billing_api.operations.audit.schemas import Actor
from billing_api.operations.customers.notes.views import Former, Written
from billing_api.web.text_patterns import LINES, LINES_IN_WORDS
from core.field_errors import FORM

LONGEST: Final = 4000

Body = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=LONGEST,
        pattern=LINES,
        description="Plain text, for staff alone.",
        examples=["Moves to a new data center in March; call before any suspension."],
        extra={FORM: LINES_IN_WORDS},
    ),
]
Pinned = Annotated[bool, Meta(description="Shown before all others.", examples=[True])]
Version = Annotated[int, Meta(ge=1, description="Counts the texts of this note, from 1.", examples=[1])]


class NewNote(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A note about the customer. The customer never reads it."""

    body: Body
    is_pinned: Pinned = False


class ChangedNote(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Absent fields stay as they are."""

    version: Annotated[
        int,
        Meta(
            ge=1,
            le=2_147_483_647,
            description="The version that you have read: 409 if somebody has written another one since.",
            examples=[1],
        ),
    ]
    body: Body | msgspec.UnsetType = msgspec.UNSET
    is_pinned: Pinned | msgspec.UnsetType = msgspec.UNSET


class NoteView(msgspec.Struct, frozen=True, kw_only=True):
    """A note of staff about a customer."""

    id: Annotated[UUID, Meta(description="The note's id.", examples=["019ab3f9-6c11-7d0e-8a55-1f2e3d4c5b6a"])]
    author: Annotated[Actor, Meta(description="Who made the note.")]
    editor: Annotated[Actor | None, Meta(description="Who wrote the present text; null where it is the author.")]
    body: Annotated[
        str,
        Meta(
            description="The present text; empty once the note was deleted.",
            examples=["Moves to a new data center in March; call before any suspension."],
        ),
    ]
    is_pinned: Pinned
    version: Version
    created_at: Annotated[datetime, Meta(description="When it was made.", examples=["2026-03-10T09:30:00Z"])]
    updated_at: Annotated[
        datetime, Meta(description="When it was last changed in any way.", examples=["2026-03-10T09:30:00Z"])
    ]

    @classmethod
    def of(cls, written: Written) -> "NoteView":
        return cls(**_facts(written))


class FormerText(msgspec.Struct, frozen=True, kw_only=True):
    """A text that the note had before."""

    version: Version
    body: Annotated[str, Meta(description="The text as it was.", examples=["Moves in March."])]
    author: Annotated[Actor, Meta(description="Who wrote it.")]
    written_at: Annotated[datetime, Meta(description="When it was written.", examples=["2026-03-09T16:00:00Z"])]


class NoteHistory(NoteView, frozen=True, kw_only=True):
    """A note with its former texts."""

    deleted_at: Annotated[
        datetime | None, Meta(description="When it was deleted; null where it stands.", examples=[None])
    ]
    former: Annotated[list[FormerText], Meta(description="Newest first.")]
    more: Annotated[bool, Meta(description="There are older texts than these.", examples=[False])]

    @classmethod
    def of_all(cls, written: Written, former: Sequence[Former], *, more: bool) -> "NoteHistory":
        return cls(
            **_facts(written),
            deleted_at=written.note.deleted_at,
            former=[
                FormerText(
                    version=one.text.version,
                    body=one.text.body,
                    author=Actor.of(one.text.author_id, one.author),
                    written_at=one.text.written_at,
                )
                for one in former
            ],
            more=more,
        )


def _facts(written: Written) -> dict[str, Any]:
    note = written.note
    return {
        "id": note.id,
        "author": Actor.of(note.author_id, written.author),
        "editor": None if note.editor_id is None else Actor.of(note.editor_id, written.editor),
        "body": note.body,
        "is_pinned": note.is_pinned,
        "version": note.version,
        "created_at": note.created_at,
        "updated_at": note.updated_at,
    }
