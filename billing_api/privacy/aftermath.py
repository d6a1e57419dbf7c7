"""Follow-up of a deletion: Stripe's customer, and data that came or stayed after the transaction.

Found by state, like all due work: users marked as deleted for whom something is left to forget. So a hint that is
lost, or a release that forgets more than the one before, needs nobody to remember what was done.
"""

from datetime import timedelta
from typing import Final

from billing_api.gateways.stripe.client import Stripe
from billing_api.privacy import repository
from core.clock import Clock
from core.jobs import ForgetCustomer
from core.telemetry import logger
from db.unit_of_work import Database

LAST_MAILS_STAY: Final = timedelta(days=1)
"""For the mail that says the account is gone has to be sent, and may have to be tried for so long."""


class CustomerErasure:
    def __init__(self, database: Database, stripe: Stripe) -> None:
        self._database = database
        self._stripe = stripe

    async def perform(self, job: ForgetCustomer) -> None:
        """Stripe deletes the customer with cards and address, and keeps invoices and charges as they were written."""
        async with self._database.as_system() as tx:
            customer_id = await repository.stripe_customer_of(tx, job.user_id)
        if customer_id is not None:
            await self._stripe.delete_customer(customer_id)
            logger().info("account.stripe_customer_deleted", user_id=str(job.user_id))


async def forget_leftovers(database: Database, clock: Clock) -> int:
    """Says how many rows there were: last mails, and what requests wrote that were under way when the account went."""
    before = clock() - LAST_MAILS_STAY
    async with database.as_system() as tx:
        gone = repository.who_went(before)
        erased = await repository.erase(tx, gone, mails_before=before)
        return erased + await repository.reduce(tx, gone) + await repository.reduce_events(tx)
