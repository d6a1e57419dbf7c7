"""Mails to whose second factor it is: what a thief would do first must not stay unnoticed."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from billing_api.notifications.mails.security_notices import tell
from core.settings import Secrets
from db.unit_of_work import SystemTransaction

Change = Literal["enabled", "removed", "codes_renewed"]


async def tell_of_change(tx: SystemTransaction, secrets: Secrets, user_id: UUID, change: Change, now: datetime) -> None:
    await tell(tx, secrets, user_id, "second_factor_changed", now, change=change)


async def tell_of_recovery_code(
    tx: SystemTransaction, secrets: Secrets, user_id: UUID, left: int, now: datetime
) -> None:
    await tell(tx, secrets, user_id, "recovery_code_used", now, left=str(left))
