"""The workers' errands of money that goes back, run as a worker runs them, until nothing is due."""

from billing_api.commerce.stripe_mirror.service import Mirror
from billing_api.gateways.stripe.client import Stripe
from core.clock import Clock
from db.unit_of_work import Database
from tests.support.databases import change, rows
from tests.support.servers import DatabaseUrls
from workers.handlers.money_back import money_back_works
from workers.jobs.dispatch import Dispatcher

KINDS = ("send_refund", "end_subscription", "align_collection")


class Errands:
    def __init__(self, database: Database, urls: DatabaseUrls, stripe: Stripe, mirror: Mirror, clock: Clock) -> None:
        self._urls = urls
        self._dispatcher = Dispatcher(database, money_back_works(database, stripe, mirror, clock))

    async def waiting(self) -> list[int]:
        of = f"job ->> 'type' IN {KINDS} AND done_at IS NULL AND dead_at IS NULL"
        return [row["id"] for row in await rows(self._urls, f"SELECT id FROM outbox WHERE {of} ORDER BY id")]

    async def attempt(self, outbox_id: int) -> None:
        """One attempt, whatever comes of it: due now, although it may be pausing after a failure."""
        await change(self._urls, "UPDATE outbox SET due_at = now() WHERE id = :id", id=outbox_id)
        await self._dispatcher.perform(outbox_id)

    async def run(self) -> int:
        """How many were run; each succeeds at its first attempt."""
        number = 0
        while ids := await self.waiting():
            for outbox_id in ids:
                await self._dispatcher.perform(outbox_id)
                number += 1
            failed = await rows(self._urls, "SELECT job, last_error FROM outbox WHERE last_error IS NOT NULL")
            assert failed == []
        return number
