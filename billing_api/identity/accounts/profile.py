"""Profile read model: a user with what the account's own page shows beside it."""

from datetime import datetime
from typing import NamedTuple

from db.models.identity import User


class Profile(NamedTuple):
    """`session_began`: None where the session is another user's, which is so during an impersonation."""

    user: User
    factor_since: datetime | None
    session_began: datetime | None
    actors_name: str | None
