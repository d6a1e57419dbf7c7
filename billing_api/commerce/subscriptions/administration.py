"""Subscription use cases of staff: search, read, and cancel for a customer."""

import asyncio
from typing import Final
from uuid import NAMESPACE_URL, UUID, uuid5

from billing_api.access.permissions import Principal
from billing_api.commerce.stripe_mirror.service import Mirror, StripeObject
from billing_api.commerce.subscriptions import admin_repository as repository
from billing_api.commerce.subscriptions.admin_repository import SubscriptionFilter
from billing_api.commerce.subscriptions.admin_schemas import AdminSubscriptionView, StaffCancelGiven
from billing_api.commerce.subscriptions.ends import Ends
from billing_api.commerce.subscriptions.repository import NEWEST_FIRST
from billing_api.gateways.stripe.client import Stripe
from core.deadline import MAY_HAVE_HAPPENED
from core.errors import Conflict, Refusal, Unavailable
from core.ids import new_id
from db.idempotency import Once, Replayable
from db.paging import Page, Paging, fetch_page
from db.unit_of_work import Database

_ASKED_WITHIN: Final = 8
"""Seconds for all calls to Stripe under the customer's lock."""
_ENDED_AT_STRIPE: Final = frozenset({"canceled", "incomplete_expired"})
_ENDED: Final = "this subscription has ended already"


class SubscriptionAdministration:
    def __init__(self, database: Database, stripe: Stripe, mirror: Mirror, ends: Ends) -> None:
        self._database = database
        self._stripe = stripe
        self._mirror = mirror
        self._ends = ends

    async def page(
        self, principal: Principal, paging: Paging, wanted: SubscriptionFilter
    ) -> Page[AdminSubscriptionView]:
        async with self._database.as_staff(principal.user_id) as tx:
            found = await fetch_page(tx.session, repository.for_staff(wanted), NEWEST_FIRST, paging)
        return found.page(map(AdminSubscriptionView.of_row, found.rows))

    async def one(self, principal: Principal, subscription_id: UUID) -> AdminSubscriptionView:
        async with self._database.as_staff(principal.user_id) as tx:
            return AdminSubscriptionView.of_row(await repository.one_for_staff(tx, subscription_id))

    async def cancel(
        self, principal: Principal, subscription_id: UUID, wanted: StaffCancelGiven, once: Once
    ) -> Replayable[AdminSubscriptionView]:
        """Ends it as its owner could. Conflict where it has ended."""
        # 1. Claim the key, and tell who asks for what.
        async with self._database.as_system(principal.user_id) as tx:
            if stored := await once.claim(tx, AdminSubscriptionView):
                return stored
            row = await repository.one_for_staff(tx, subscription_id)
            told = {"when": wanted.when, "reason": wanted.reason}
            await tx.audit("subscription.cancelled", "subscription", subscription_id, **told)
        # 2. Stripe is asked, and then mirrored. A refusal gives the key back.
        try:
            change_id = _change_id(principal, subscription_id, once)
            await self._end(row.customer_id, row.stripe_subscription_id, wanted.when, change_id)
        except Refusal:
            async with self._database.as_system(principal.user_id) as tx:
                await once.give_back(tx)
            raise
        await self._mirror.mirror(StripeObject("subscription", row.stripe_subscription_id, row.customer_id))
        async with self._database.as_system(principal.user_id) as tx:
            shown = AdminSubscriptionView.of_row(await repository.one_for_staff(tx, subscription_id))
            return await once.record(tx, shown)

    async def _end(self, customer_id: str, stripe_subscription_id: str, when: str, change_id: UUID) -> None:
        async with self._mirror.exclusive(customer_id) as tx:
            try:
                async with asyncio.timeout(_ASKED_WITHIN):
                    facts = await self._stripe.subscription(stripe_subscription_id)
                    if facts is not None and facts.status not in _ENDED_AT_STRIPE:
                        await self._ends.end(change_id, facts, when)
                        return
                    if facts is not None:
                        await self._ends.finish(facts)
            except TimeoutError as late:
                raise Unavailable(f"Stripe took too long: {MAY_HAVE_HAPPENED}") from late
            if facts is None:
                await self._mirror.handle_missing(tx, stripe_subscription_id)
        raise Conflict(_ENDED)


def _change_id(principal: Principal, subscription_id: UUID, once: Once) -> UUID:
    """The same for every request with one Idempotency-Key, so that Stripe performs it once."""
    if once.key is None:
        return new_id()
    return uuid5(NAMESPACE_URL, f"urn:nextpanel:staff-cancel:{principal.user_id}:{subscription_id}:{once.key}")
