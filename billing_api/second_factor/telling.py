"""Mails to whose second factor it is: what a thief would do first must not stay unnoticed."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from billing_api.mails.service import Mails
from billing_api.second_factor import repository
from core.ids import new_id
from core.settings import Secrets
from db.unit_of_work import SystemTransaction

Change = Literal["enabled", "removed", "codes_renewed"]


async def tell_of_change(tx: SystemTransaction, secrets: Secrets, user_id: UUID, change: Change, now: datetime) -> None:
    await _tell(tx, secrets, user_id, "second_factor_changed", now, change=change)


async def tell_of_recovery_code(
    tx: SystemTransaction, secrets: Secrets, user_id: UUID, left: int, now: datetime
) -> None:
    await _tell(tx, secrets, user_id, "recovery_code_used", now, left=str(left))


async def _tell(
    tx: SystemTransaction, secrets: Secrets, user_id: UUID, template: str, now: datetime, **parameters: str
) -> None:
    user = await repository.active_user(tx, user_id)
    if user is not None:
        await Mails(secrets).write(tx, user, template, occasion=str(new_id()), now=now, **parameters)
