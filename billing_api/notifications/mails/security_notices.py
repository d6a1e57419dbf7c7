"""Security notices: mails that tell an account's owner what a thief would do first: second factors, clients, API keys.

They are queued in the transaction that does it. They hold facts of ours and no name that was typed: an intruder must
not write to the account's owner in our name.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Literal
from uuid import UUID

from billing_api.notifications.mails import repository
from billing_api.notifications.mails.service import Mails
from core.ids import new_id
from core.settings import Secrets
from db.unit_of_work import SystemTransaction

Made = Literal["made", "rotated", "activated"]
"""The origin of a secret: a new key or client, a rotation, or the activation of a panel."""


async def tell(
    tx: SystemTransaction, secrets: Secrets, user_id: UUID, template: str, now: datetime, **parameters: str
) -> None:
    """Each call is an occasion of its own. A suspended or deleted account gets no mail."""
    user = await repository.active_user(tx, user_id)
    if user is not None:
        await Mails(secrets).write(tx, user, template, occasion=str(new_id()), now=now, **parameters)


async def tell_of_api_key(
    tx: SystemTransaction, secrets: Secrets, user_id: UUID, now: datetime, *, key_id: str, license_id: UUID, how: Made
) -> None:
    await tell(tx, secrets, user_id, "api_key_made", now, key_id=key_id, license_id=str(license_id), how=how)


async def tell_of_oauth_client(
    tx: SystemTransaction,
    secrets: Secrets,
    user_id: UUID,
    now: datetime,
    *,
    client_id: UUID,
    scopes: Iterable[str],
    how: Made,
) -> None:
    may = ", ".join(scopes)
    await tell(tx, secrets, user_id, "oauth_client_made", now, client_id=str(client_id), scopes=may, how=how)
