"""Security notices about the second factor: its owner gets a mail, because a thief would change it first."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from billing_api.notifications.mails.security_notices import tell
from core.settings import Secrets
from db.unit_of_work import SystemTransaction

Change = Literal["enabled", "removed", "codes_renewed"]


async def mail_change(tx: SystemTransaction, secrets: Secrets, user_id: UUID, change: Change, now: datetime) -> None:
    await tell(tx, secrets, user_id, "second_factor_changed", now, change=change)


async def mail_recovery_code_used(
    tx: SystemTransaction, secrets: Secrets, user_id: UUID, left: int, now: datetime
) -> None:
    await tell(tx, secrets, user_id, "recovery_code_used", now, left=str(left))
