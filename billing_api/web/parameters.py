"""Parameters and answers that all domains share: page parameters, storable text, instants, replayed answers."""

from datetime import UTC, datetime
from typing import Annotated, Final, TypeVar

import msgspec
from litestar import Response
from litestar.params import QueryParameter

from billing_api.access.staff_reason import StaffReason
from billing_api.web.text_patterns import LINES, LINES_IN_WORDS, ONE_LINE, ONE_LINE_IN_WORDS
from core.errors import FieldError, InvalidInput
from core.field_errors import FORM
from db.idempotency import Replayable

ViewT = TypeVar("ViewT", bound=msgspec.Struct)

STORABLE: Final = r"^[^\x00]*$"
"""PostgreSQL's text type holds every character except NUL."""

IDEMPOTENCY_KEY: Final = (
    "A name of your own for this order, 1 to 255 printable ASCII characters. Sent again with it within a week, the "
    "order is carried out once and answered as before, with `Idempotency-Replayed: true`. With another body it "
    "is refused."
)
SIGNED_KEY: Final = (
    "A name of your own for this request, 1 to 255 printable ASCII characters; it is signed with it. Sent again with "
    "it, the request is carried out once and answered as before."
)
"""Handlers that read the header themselves name one of the two: `documented_key=`."""

Limit = Annotated[int, QueryParameter(ge=1, le=100, description="How many items at most.")]
Offset = Annotated[
    int, QueryParameter(ge=0, le=1_000_000, description="How many items to skip. With many pages use `cursor`.")
]

PersonName = Annotated[
    str,
    msgspec.Meta(
        max_length=200,
        pattern=ONE_LINE,
        description="A name on one line, without controls of writing direction.",
        examples=["Ada Byron"],
        extra={FORM: ONE_LINE_IN_WORDS},
    ),
]

Reason = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=500,
        pattern=LINES,
        description="Why, for the audit trail and for staff. Customers never read it.",
        examples=["chargeback on invoice 4711, ticket 93"],
        extra={FORM: LINES_IN_WORDS},
    ),
]
Message = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=500,
        pattern=LINES,
        description="What the customer reads about it. Absent or null: only that it was done.",
        examples=["Your bank took the last payment back. Please pay the open invoice."],
        extra={FORM: LINES_IN_WORDS},
    ),
]


class ReasonGiven(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The reason of a member of staff, and optionally a message to the customer."""

    reason: Reason
    message: Message | None = None

    @property
    def said(self) -> StaffReason:
        return StaffReason(self.reason, self.message)


INSTANT = Annotated[datetime, msgspec.Meta(tz=True)]


def instant(text: str | None, field: str) -> datetime | None:
    """An instant of the query, in UTC. Without an offset, which Litestar would accept, it would be ambiguous."""
    if text is None:
        return None
    try:
        return msgspec.convert(text, INSTANT).astimezone(UTC)
    except (msgspec.ValidationError, OverflowError):
        expected = "an instant with its offset, such as 2026-03-10T00:00:00Z"
        error = FieldError(field, f"must be {expected}", "bad_format", {"expected": expected})
        raise InvalidInput(f"{field} must be {expected}", errors=(error,)) from None


def reply(answer: Replayable[ViewT], *, status_code: int) -> Response[ViewT]:
    """The first answer and every replay are alike except for one header. No cache keeps it: it may hold a secret."""
    headers = {"Cache-Control": "no-store"}
    if answer.replayed:
        headers["Idempotency-Replayed"] = "true"
    return Response(answer.view, status_code=status_code, headers=headers)
