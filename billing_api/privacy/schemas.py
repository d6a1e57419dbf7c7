"""The export and the deletion of an account on the wire."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec

from billing_api.identity.credentials.schemas import GivenPassword

Row = Mapping[str, Any]


class Deletion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`end_licenses`: live licenses end with the account, at once and with no money back."""

    password: GivenPassword
    end_licenses: bool = False


class PersonalData(msgspec.Struct, frozen=True):
    """Everything held about the caller, by the tables it lies in. Instants are UTC, amounts integer minor units.

    A page has so many rows of each table; `next_page` is null where no table has more.
    """

    made_at: datetime
    page: int
    next_page: int | None
    tables: Annotated[Mapping[str, Sequence[Row]], msgspec.Meta(description="table → rows, column → value")]
