"""The export and the deletion of an account on the wire."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from billing_api.identity.credentials.schemas import GivenPassword
from billing_api.web import fields

Row = Mapping[str, Any]


class Deletion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The confirmation of a deletion."""

    password: GivenPassword
    end_licenses: Annotated[
        bool,
        Meta(
            description=(
                "True: live licenses end with the account, at once and with no money back. False: with a "
                "live license the deletion is refused."
            ),
            examples=[False],
        ),
    ] = False


class PersonalData(msgspec.Struct, frozen=True):
    """Everything held about the caller, by the tables it lies in. Instants are UTC, amounts integer minor units."""

    made_at: Annotated[datetime, Meta(description="When this page was made.", examples=["2026-11-22T16:00:00Z"])]
    page: Annotated[int, Meta(description="The number of this page, from 0.", examples=[0])]
    next_page: Annotated[
        int | None, Meta(description="The number of the next page; null where no table has more.", examples=[None])
    ]
    tables: Annotated[
        Mapping[str, Sequence[Row]],
        Meta(
            description="The rows of each table; of each row the value of each column.",
            examples=[{"users": [{"email": fields.EMAIL, "full_name": "Ada Byron"}]}],
        ),
    ]
