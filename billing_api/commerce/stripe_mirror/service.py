"""State synchronization with Stripe (mirror): our rows are updated from Stripe's objects.

An event only names an object. `mirror` locks the object's Stripe customer, reads the object as it is now, and updates
our rows, in one transaction. The webhook, the return page and a replay by an admin all call it. So order and duplicates
of events do not matter: the second call finds nothing to change.

The lock comes before the read, for two reasons:

- The events of one purchase are handled concurrently, and their rows do not exist yet. So there is no row to lock.
- A read before the lock could be older than the rows that the lock's holder has just written.

The first paid invoice grants the license (granting.py). A period, or a more expensive plan, is paid when a paid invoice
charges for it. The subscription's latest invoice may be for something else, such as an upgrade that was declined while
the renewal was a draft.
"""

from contextlib import AbstractAsyncContextManager
from typing import Final, Literal, NamedTuple

import msgspec

from billing_api.commerce.plans.repository import of_price
from billing_api.commerce.stripe_customers.repository import mark_customer_deleted
from billing_api.commerce.stripe_mirror import money_back_repository, repository
from billing_api.commerce.stripe_mirror.after_end import comes_after_end, give_back
from billing_api.commerce.stripe_mirror.customer_lock import WAITS_FOR, CustomerLock
from billing_api.commerce.stripe_mirror.failed_renewal import note_first_failure, note_given_up
from billing_api.commerce.stripe_mirror.following import follow_end, follow_running, let_run_out
from billing_api.commerce.stripe_mirror.granting import CannotMirror, grant_licenses
from billing_api.commerce.stripe_mirror.held_repository import link
from billing_api.commerce.stripe_mirror.money_back import MoneyBack
from billing_api.commerce.stripe_mirror.plan_following import Billed, note_price, show_pending
from billing_api.commerce.stripe_mirror.trials import admit_trial
from billing_api.gateways.stripe.client import Stripe
from billing_api.gateways.stripe.endings import StripeEndings
from billing_api.gateways.stripe.facts import InvoiceFacts, SubscriptionFacts
from billing_api.gateways.stripe.money_back import StripeMoneyBack
from billing_api.gateways.stripe.upcoming import StripeUpcoming, basis
from core.clock import Clock
from core.ids import new_id
from core.settings import Secrets
from core.telemetry import logger
from db.models.commerce import CheckoutStatus, InvoiceStatus, Subscription, SubscriptionStatus
from db.models.identity import User
from db.models.licensing import Interval, Plan
from db.unit_of_work import Database, SystemTransaction

Kind = Literal["checkout.session", "subscription", "invoice", "charge", "refund", "dispute", "customer"]

_STATUS: Final = {
    "active": SubscriptionStatus.ACTIVE,
    "trialing": SubscriptionStatus.TRIALING,
    "canceled": SubscriptionStatus.CANCELLED,
    "incomplete_expired": SubscriptionStatus.CANCELLED,
}


class StripeObject(NamedTuple):
    """The object to read, and the Stripe customer whose lock is needed; None where the event does not name it."""

    kind: Kind
    id: str
    customer_id: str | None


class Mirror:
    def __init__(
        self, database: Database, stripe: Stripe, secrets: Secrets, clock: Clock, *, within: float = WAITS_FOR
    ) -> None:
        """`within`: seconds after which a wait for the customer's lock ends as Busy."""
        self._stripe = stripe
        self._secrets = secrets
        self._clock = clock
        self._lock = CustomerLock(database, within=within)
        self._endings = StripeEndings(stripe.v1)
        self._upcoming = StripeUpcoming(stripe.v1)
        self._charges = StripeMoneyBack(stripe.v1)
        self._money_back = MoneyBack(clock)

    def exclusive(self, customer_id: str) -> AbstractAsyncContextManager[SystemTransaction]:
        """A transaction with the exclusive lock on this Stripe customer; or Busy."""
        return self._lock.held(customer_id)

    async def mirror(self, subject: StripeObject) -> None:
        """Updates our rows from the object. Objects of a customer that is not ours are ignored.

        A refund and a dispute are read with the charge that they belong to.
        """
        object_id, customer_id = subject.id, subject.customer_id
        if subject.kind in {"charge", "refund", "dispute"}:
            found = await self._charges.whereabouts(subject.kind, subject.id)
            object_id, customer_id = found or (subject.id, None)
        if customer_id is None:
            logger().info("mirror.no_customer", kind=subject.kind, object_id=subject.id)
            return
        async with self.exclusive(customer_id) as tx:
            user = await repository.user_of(tx, customer_id)
            if user is None:
                logger().info("mirror.unknown_customer", kind=subject.kind, object_id=subject.id)
                return
            await self._write(tx, user, subject.kind, object_id)

    async def _write(self, tx: SystemTransaction, user: User, kind: Kind, object_id: str) -> None:
        match kind:
            case "checkout.session":
                await self._session(tx, user, object_id)
            case "subscription":
                await self._subscription(tx, user, object_id)
            case "invoice":
                await self._invoice(tx, user, object_id)
            case "charge" | "refund" | "dispute":
                await self._charge(tx, user, object_id)
            case "customer":
                if not await self._stripe.has_customer(object_id):
                    await mark_customer_deleted(tx, user.id, object_id)

    async def _session(self, tx: SystemTransaction, user: User, session_id: str) -> None:
        session = await self._stripe.session(session_id)
        if session is None:
            await repository.expire_checkout_of(tx, session_id)
            return
        if session.checkout_id is None:
            return
        if session.status == "expired":
            await repository.close_checkout(tx, session.checkout_id, CheckoutStatus.EXPIRED)
        if session.status == "complete" and session.subscription_id is not None:
            await self._subscription(tx, user, session.subscription_id)

    async def _invoice(self, tx: SystemTransaction, user: User, invoice_id: str) -> None:
        invoice = await self._stripe.invoice(invoice_id)
        if invoice is None:  # a draft may be deleted
            known = await repository.delete_draft(tx, invoice_id)
            logger().info("mirror.invoice_gone", invoice=invoice_id, draft_of_ours=known)
            return
        if invoice.subscription_id is None:
            await self._write_invoice(tx, user, invoice, None)
            return
        row = await self._subscription(tx, user, invoice.subscription_id)
        if row is not None:
            await self._write_invoice(tx, user, invoice, row)  # it may not be the latest invoice

    async def _charge(self, tx: SystemTransaction, user: User, charge_id: str) -> None:
        """The charge's payment with its refunds and disputes. Its invoice may not have been mirrored yet."""
        facts = await self._charges.charge(charge_id)
        if facts is None or facts.intent_id is None:
            return
        payment = await money_back_repository.lock_payment(tx, facts.intent_id)
        if payment is None and facts.invoice_id is not None:
            await self._invoice(tx, user, facts.invoice_id)
            payment = await money_back_repository.lock_payment(tx, facts.intent_id)
        if payment is not None:
            await self._money_back.follow(tx, user, payment, facts)

    async def _subscription(self, tx: SystemTransaction, user: User, subscription_id: str) -> Subscription | None:
        """Our row of the subscription. None while nothing is paid, or where it does not come from our checkout."""
        # 1. Read Stripe's objects and our row.
        facts = await self._stripe.subscription(subscription_id)
        if facts is None:
            return await self.handle_missing(tx, subscription_id)
        invoice = await self._stripe.invoice(facts.latest_invoice_id) if facts.latest_invoice_id else None
        known = await repository.subscription(tx, subscription_id)
        if known is None and facts.checkout_id is None:
            return None  # created by hand at Stripe: not a purchase of ours
        sold = await of_price(tx, facts.price_id)
        if known is not None:
            await note_price(tx, known, None if sold else facts.price_id)
        if sold is None and known is not None:  # the plan in force stays, and what was paid extends it
            sold = await tx.session.get_one(Plan, known.plan_id), known.interval
        if sold is None:
            raise CannotMirror(
                f"subscription {facts.id} has the price {facts.price_id}, which no plan has; change it at Stripe"
            )
        # 2. Create the row once it is paid, or update it.
        if known is None:
            known = await self._first_payment(tx, user, facts, invoice, *sold)
        else:
            paid = invoice if invoice and invoice.status == "paid" else await self._stripe.paid_invoice(facts.id)
            await self._follow(tx, known, facts, Billed(*sold, paid, invoice))
        if known is not None and invoice is not None:
            await self._write_invoice(tx, user, invoice, known)
        return known

    async def handle_missing(self, tx: SystemTransaction, subscription_id: str) -> Subscription | None:
        """Handles a subscription that Stripe does not have: nothing is charged any more, the paid period goes on.

        Unlike a cancellation, this does not end the license at once: with an API key of the wrong Stripe account it
        would end all licenses.
        """
        row = await repository.subscription(tx, subscription_id)
        if row is None or row.status is SubscriptionStatus.CANCELLED:
            return row
        logger().error("mirror.subscription_gone", subscription=subscription_id)
        row.status = SubscriptionStatus.CANCELLED
        row.mirrored_at = row.ended_at = self._clock()
        show_pending(row, None, None)
        for license_ in await let_run_out(tx, row, row.mirrored_at):
            await tx.audit("subscription.gone", "license", license_.id, subscription=subscription_id)
        return row

    async def _first_payment(
        self,
        tx: SystemTransaction,
        user: User,
        facts: SubscriptionFacts,
        latest: InvoiceFacts | None,
        plan: Plan,
        interval: Interval,
    ) -> Subscription | None:
        """Creates the row after the first payment. Any paid invoice counts: the latest may be the next period's."""
        paid = latest if latest and latest.status == "paid" else await self._stripe.paid_invoice(facts.id)
        if paid is None:
            return None
        if not await admit_trial(tx, user, facts, self._endings):
            return None
        licenses = await grant_licenses(tx, self._secrets, user, facts, plan, self._clock())
        if not licenses:
            return None
        row = Subscription(
            id=new_id(),
            user_id=user.id,
            license_id=licenses[0].id,
            quantity=len(licenses),
            stripe_subscription_id=facts.id,
            plan_id=plan.id,
            interval=interval,
            plan_paid_until=facts.period_end,
        )
        _copy(row, facts)
        await self._look_ahead(row, facts)
        row.mirrored_at = self._clock()
        tx.session.add(row)
        await tx.session.flush()
        tx.session.add_all(link(row, one, place, row.mirrored_at) for place, one in enumerate(licenses))
        await self._write_invoice(tx, user, paid, row)
        return row

    async def _follow(
        self,
        tx: SystemTransaction,
        row: Subscription,
        facts: SubscriptionFacts,
        billed: Billed,
    ) -> None:
        ended_before = row.status is SubscriptionStatus.CANCELLED or row.ended_at is not None
        _copy(row, facts)
        row.mirrored_at = self._clock()
        now = self._clock()
        await self._look_ahead(row, facts)
        if row.status is not SubscriptionStatus.CANCELLED:
            await follow_running(tx, self._secrets, row, facts, billed, now)
            return
        show_pending(row, None, None)
        if facts.was_given_up and not ended_before:
            await note_given_up(tx, row, now)
        await follow_end(tx, row, now)

    async def _look_ahead(self, row: Subscription, facts: SubscriptionFacts) -> None:
        """What the next invoice charges: asked of Stripe once for each period, price, quantity and discount."""
        renews = row.status is not SubscriptionStatus.CANCELLED and facts.ends_at is None
        wanted = basis(facts) if renews else None
        if wanted == row.next_amount_for:
            return
        row.next_amount = await self._upcoming.amount(facts) if wanted else None
        row.next_amount_for = wanted if row.next_amount is not None else None

    async def _write_invoice(
        self, tx: SystemTransaction, user: User, invoice: InvoiceFacts, subscription: Subscription | None
    ) -> None:
        # 1. The invoice and its payments.
        before = await repository.known_invoice(tx, invoice.id)
        invoice_id = await repository.write_invoice(
            tx, invoice, user_id=user.id, subscription_id=subscription.id if subscription else None
        )
        for payment in invoice.payments:
            await repository.write_payment(
                tx,
                payment,
                user_id=user.id,
                license_id=subscription.license_id if subscription else None,
                invoice_id=invoice_id,
                description=f"Invoice {invoice.number or invoice.id}",
            )
        if subscription is None:
            return
        # 2. From its first failed try on, the steps of dunning are counted.
        if invoice.has_failed_renewal and (before is None or before.first_failed_at is None):
            await note_first_failure(tx, invoice, before, invoice_id, subscription, self._clock())
        # 3. What was paid for something that has ended goes back.
        was_unpaid_then = before is not None and before.status is not InvoiceStatus.PAID
        if comes_after_end(invoice, subscription.ended_at, was_unpaid_then=was_unpaid_then):
            await give_back(tx, user, subscription, invoice, self._clock())


def _copy(row: Subscription, facts: SubscriptionFacts) -> None:
    row.status = _STATUS.get(facts.status, SubscriptionStatus.PAST_DUE)
    row.current_period_start = facts.period_start
    row.current_period_end = facts.period_end
    row.cancel_at_period_end = facts.ends_with_period
    row.ends_at, row.trial_ends_at = facts.ends_at, facts.trial_ends_at
    row.stripe_price_id = facts.price_id
    row.discount = msgspec.to_builtins(facts.discount)
    row.renewal_amount, row.renewal_currency = facts.renewal_amount, facts.currency
    # A decision of ours may have been earlier than the end that Stripe made of it.
    ends = [instant for instant in (row.ended_at, facts.ended_at) if instant is not None]
    row.ended_at = min(ends, default=None)
