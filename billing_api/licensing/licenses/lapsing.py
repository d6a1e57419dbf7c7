"""Licenses that are over: recorded as expired, and NextPanel is told.

A validator compares instants, so an answer is right before this is recorded. A license that a subscription renews is
left to the steps after a failed payment. The others end here: those of staff, and those whose subscription has ended.
"""

from datetime import datetime, timedelta
from typing import Final

from billing_api.access.staff_reason import StaffReason
from billing_api.licensing.licenses import standing_repository as repository
from billing_api.licensing.licenses.standing import change_standing
from core.clock import Clock
from core.licensing.state import Event
from core.telemetry import logger
from db.unit_of_work import Database

AT_A_TIME: Final = 100
LATE: Final = timedelta(hours=1)
"""After the end: for so long the webhook of a canceled subscription may say the same in its own words."""
_OVER: Final = StaffReason("its time is over")


async def record_expired(database: Database, clock: Clock) -> int:
    """Returns the number of licenses; fewer than AT_A_TIME once all are recorded."""
    now = clock()
    async with database.as_system() as tx:
        found = await repository.lock_over(tx, now - LATE, most=AT_A_TIME)
        for license_ in found:
            await change_standing(tx, license_, Event.LAPSED, _OVER, now)
            await tx.audit("license.expired", "license", license_.id)
    if found:
        logger().info("licenses.expired", count=len(found))
    return len(found)


async def next_due(database: Database) -> datetime | None:
    async with database.as_system() as tx:
        end = await repository.next_end(tx)
    return None if end is None else end + LATE
