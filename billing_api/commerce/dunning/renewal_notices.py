"""Notices before a renewal: who pays once a year is told some days before, as the billing policy says."""

from datetime import datetime, timedelta
from typing import Final

from msgspec import UNSET

from billing_api.commerce.billing_settings.repository import policy_in_force
from billing_api.commerce.dunning import mails, repository
from core.billing_policy import BillingPolicy
from core.clock import Clock
from core.parts import step
from core.telemetry import logger
from db.models.licensing import Interval
from db.unit_of_work import Database

AT_A_TIME: Final = 100


class RenewalNotices:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def send_due(self) -> int:
        """Returns the number of owners that were told."""
        told = 0
        now = self._clock()
        async with step(), self._database.as_system() as tx:
            for interval, notice in _notices(await policy_in_force(tx)):
                found = await repository.renewing_soon(tx, interval, now, now + notice, most=AT_A_TIME)
                for subscription, user in found:
                    await mails.tell_of_renewal(tx, subscription, user, now)
                    await repository.note_told(tx, subscription.id, subscription.current_period_end)
                told += len(found)
        if told:
            logger().info("renewals.owners_told", count=told)
        return told

    async def next_due(self) -> datetime | None:
        now = self._clock()
        instants: list[datetime] = []
        async with self._database.as_system() as tx:
            for interval, notice in _notices(await policy_in_force(tx)):
                end = await repository.next_renewal(tx, interval, now)
                if end is not None:
                    instants.append(end - notice)
        return min((instant for instant in instants if instant > now), default=None)


def _notices(policy: BillingPolicy) -> list[tuple[Interval, timedelta]]:
    days = {Interval.MONTH: policy.renewal_notice_days.month, Interval.YEAR: policy.renewal_notice_days.year}
    return [(interval, timedelta(days=notice)) for interval, notice in days.items() if notice is not UNSET]
