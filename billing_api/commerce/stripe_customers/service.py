"""Use cases of Stripe customers: one for each user, created when it is first needed, and again where it was deleted."""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from billing_api.access.permissions import Principal
from billing_api.commerce.stripe_customers import repository
from billing_api.gateways.stripe.client import GoneAtStripe, Stripe
from core.errors import PartnerUnavailable
from core.jobs import UpdateStripeCustomer
from core.telemetry import logger
from db.models.identity import User
from db.unit_of_work import Database

T = TypeVar("T")

_MOST_REPLACED: Final = 3
"""Attempts: the first may meet a customer that was deleted at Stripe, the second one that is being deleted now."""


class StripeCustomers:
    def __init__(self, database: Database, stripe: Stripe) -> None:
        self._database = database
        self._stripe = stripe

    async def known(self, principal: Principal) -> str | None:
        """The user's customer; None where none was needed yet."""
        async with self._database.as_customer(principal.user_id) as tx:
            return await repository.customer_id(tx)

    async def use(self, user: User, call: Callable[[str, bool], Awaitable[T]]) -> T:
        """The answer of `call`, which gets the customer's id, and whether it replaced one that was deleted at Stripe.

        A customer that is found deleted is replaced, and `call` is made again.
        """
        for _ in range(_MOST_REPLACED):
            known = user.stripe_customer_id
            try:
                known = known or await self._create(user)
                return await call(known, bool(user.former_stripe_customer_ids))
            except GoneAtStripe as gone:
                gone_id = gone.object_id or known
                if gone.parameter != "customer" or gone_id is None:
                    raise
                logger().warning("stripe.customer_deleted", customer_id=gone_id)
                async with self._database.as_system() as tx:
                    user = await repository.mark_customer_deleted(tx, user.id, gone_id)
        raise PartnerUnavailable("objects at Stripe are being deleted while we create them; try again")

    async def buyer(self, principal: Principal) -> User:
        """The user, if the account is open."""
        async with self._database.as_customer(principal.user_id) as tx:
            return await repository.buyer(tx)

    async def _create(self, user: User) -> str:
        """Two requests at once send the same key to Stripe, so both get the same customer."""
        generation = len(user.former_stripe_customer_ids)
        made = await self._stripe.create_customer(user.id, email=user.email, name=user.full_name, generation=generation)
        async with self._database.as_system() as system:
            await repository.store_customer(system, user.id, made)
            await system.enqueue(UpdateStripeCustomer(user.id))  # its billing details may have been given before
        return made
