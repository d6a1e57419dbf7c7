"""Search results on the wire."""

from typing import Annotated, Literal
from uuid import UUID

import msgspec

from billing_api.web import fields

Kind = Literal["user", "license", "subscription", "invoice", "payment"]


class SearchResult(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was found."""

    kind: Annotated[Kind, msgspec.Meta(description="What it is.", examples=["user"])]
    id: Annotated[UUID, msgspec.Meta(description="Its id.", examples=[fields.USER])]
    title: Annotated[str, msgspec.Meta(description="What it is called.", examples=[fields.EMAIL])]
    subtitle: Annotated[
        str, msgspec.Meta(description="What tells it from others, in a few words.", examples=["Ada Byron · active"])
    ]
    link: Annotated[
        str,
        msgspec.Meta(
            description="The path of this API that shows it, or what it belongs to.",
            examples=[f"/api/v1/admin/users/{fields.USER}"],
        ),
    ]


class SearchGroup(msgspec.Struct, frozen=True, kw_only=True):
    """What was found of one kind: at most ten, those that fit best or are newest."""

    kind: Annotated[Kind, msgspec.Meta(description="What all of them are.", examples=["user"])]
    items: Annotated[list[SearchResult], msgspec.Meta(description="At most ten.")]
    more: Annotated[
        bool, msgspec.Meta(description="Whether there are others: then search for more of the text.", examples=[False])
    ]


class SearchAnswer(msgspec.Struct, frozen=True):
    """What was found, by kind."""

    groups: Annotated[
        list[SearchGroup],
        msgspec.Meta(description="Only kinds of which something was found, and which the caller may see."),
    ]
