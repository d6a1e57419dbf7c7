"""Customer mirror: carries a customer's name, address and tax ids to Stripe, in a worker."""

from billing_api.commerce.billing_details import repository
from billing_api.gateways.stripe.customer_details import CustomerDetails, StripeCustomerDetails
from core.errors import NotFound
from core.jobs import UpdateStripeCustomer
from core.telemetry import logger
from db.models.commerce import BillingDetailsRow
from db.models.identity import User
from db.unit_of_work import Database


class CustomerMirror:
    """Idempotent: it sets what is stored by then."""

    def __init__(self, database: Database, stripe: StripeCustomerDetails) -> None:
        self._database = database
        self._stripe = stripe

    async def perform(self, job: UpdateStripeCustomer) -> None:
        async with self._database.as_system() as tx:
            found = await repository.for_stripe(tx, job.user_id)
        if found is None:
            return
        user, row = found
        try:
            await self._stripe.show(str(user.stripe_customer_id), _for_stripe(user, row))
        except NotFound:
            logger().info("stripe.customer_gone", customer_id=user.stripe_customer_id)


def _for_stripe(user: User, row: BillingDetailsRow | None) -> CustomerDetails:
    if row is None:
        return CustomerDetails(name=user.full_name, email=user.email)
    return CustomerDetails(
        name=row.company or row.name,
        email=row.email or user.email,
        individual_name=row.name,
        address=row.address,
        tax_ids=tuple((one["type"], one["value"]) for one in row.tax_ids),
    )
