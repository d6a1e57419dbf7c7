"""Reconciliation with Stripe: event replay. Events that no webhook brought are read from Stripe's list and stored.

They are stored as the receiver stores them, with their jobs. So whatever a lost webhook would have done is done: a paid
checkout is granted, an ended subscription ends, and what cannot be worked off is parked where staff see it.

    cursor − 10 minutes ───────────────► now − 2 minutes
      events may appear late in the list    younger ones are still on their way as webhooks

Stripe keeps events for thirty days. Where the list was not read for 25 days, or never, all customers are walked, with
their subscriptions and open invoices; staff are told. It may be killed at any moment: the cursor moves at the end.
"""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from billing_api.commerce.stripe_mirror.service import Mirror, StripeObject
from billing_api.gateways.stripe.listing import StripeListing
from billing_api.operations.stripe_reconciliation import repository
from billing_api.operations.webhooks.service import take_in
from billing_api.operations.webhooks.stripe_event import read
from core.clock import Clock
from core.parts import step
from core.telemetry import logger
from db.unit_of_work import Database

EVERY: Final = timedelta(minutes=5)
_ON_THEIR_WAY: Final = timedelta(minutes=2)
_OVERLAP: Final = timedelta(minutes=10)
_KEPT_SAFELY: Final = timedelta(days=25)
_CUSTOMERS: Final = 100
_WITHIN: Final = 24.0
"""Seconds for a page of events, or for one customer of a walk."""
_MOST_NAMED: Final = 20
_BEGIN: Final = UUID(int=0)


class Reconciled(NamedTuple):
    """`recovered`: events that no webhook had brought. `walked`, `failed`: customers, where all were walked."""

    recovered: int = 0
    walked: int = 0
    failed: int = 0


class StripeReconciliation:
    def __init__(self, database: Database, listing: StripeListing, mirror: Mirror, clock: Clock) -> None:
        self._database = database
        self._listing = listing
        self._mirror = mirror
        self._clock = clock

    async def run(self, *, walk: bool = False) -> Reconciled:
        """`walk`: all customers, whatever the cursor says."""
        now = self._clock()
        until = (now - _ON_THEIR_WAY).replace(microsecond=0)
        async with step(), self._database.as_system() as tx:
            cursor = await repository.read_until(tx)
        if walk or cursor is None or now - cursor > _KEPT_SAFELY:
            done = await self._walk(cursor)
        elif cursor < until:
            done = Reconciled(recovered=await self._read_events(cursor - _OVERLAP, until))
        else:
            return Reconciled()
        async with step(), self._database.as_system() as tx:
            await repository.move_cursor(tx, until, walked_at=now if done.walked else None)
        return done

    async def _read_events(self, since: datetime, until: datetime) -> int:
        recovered: list[str] = []
        pages = self._listing.events(since, until)
        while True:
            async with step(_WITHIN):
                page = await anext(pages, None)
                if page is None:
                    break
                async with self._database.as_system() as tx:
                    known = await repository.known_events(tx, [event["id"] for event in page])
                    unknown = [read(json.dumps(event).encode()) for event in page if event["id"] not in known]
                    recovered += [event.id for event in unknown if await take_in(tx, event)]
        if recovered:
            await self._tell("stripe.events_recovered", count=len(recovered), events=recovered[:_MOST_NAMED])
        return len(recovered)

    async def _walk(self, cursor: datetime | None) -> Reconciled:
        """One customer that fails does not stop the others."""
        walked = failed = 0
        behind = _BEGIN
        while True:
            async with step(), self._database.as_system() as tx:
                users = await repository.customers_behind(tx, behind, most=_CUSTOMERS)
            if not users:
                break
            for user_id, customers in users:
                behind = user_id
                walked += 1
                try:
                    async with step(_WITHIN):
                        await self._mirror_all_of(customers)
                except Exception as failure:  # noqa: BLE001  told, and looked at by hand
                    failed += 1
                    cause = f"{type(failure).__name__}: {failure}"[:300]
                    logger().warning("stripe.customer_not_walked", user_id=str(user_id), cause=cause)
        if walked:
            last_read = None if cursor is None else cursor.isoformat()
            await self._tell("stripe.all_customers_walked", last_read=last_read, customers=walked, failed=failed)
        return Reconciled(walked=walked, failed=failed)

    async def _mirror_all_of(self, customers: Sequence[str]) -> None:
        for customer in customers:
            for subscription in await self._listing.subscriptions_of(customer):
                await self._mirror.mirror(StripeObject("subscription", subscription, customer))
            for invoice in await self._listing.open_invoices_of(customer):
                await self._mirror.mirror(StripeObject("invoice", invoice, customer))

    async def _tell(self, action: str, **facts: Any) -> None:
        async with step(), self._database.as_system() as tx:
            await tx.audit(action, "stripe", "events", **facts)
        logger().error(action, **facts)
