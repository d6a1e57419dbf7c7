"""Jobs of money that goes back: refunds are sent, subscriptions ended, collection paused and resumed."""

from typing import Any

from billing_api.commerce.refunds.sending import RefundSending
from billing_api.commerce.stripe_mirror.decisions import SubscriptionDecisions
from billing_api.commerce.stripe_mirror.service import Mirror
from billing_api.gateways.stripe.client import Stripe
from core.clock import Clock
from core.jobs import AlignCollection, EndSubscription, SendRefund
from db.unit_of_work import Database
from workers.jobs.dispatch import Work


def money_back_works(database: Database, stripe: Stripe, mirror: Mirror, clock: Clock) -> list[Work[Any]]:
    sending = RefundSending(database, stripe, mirror, clock)
    decisions = SubscriptionDecisions(database, stripe, mirror)
    return [
        Work(SendRefund, sending.perform, claim_seconds=45, at_once=1),
        Work(EndSubscription, decisions.end, claim_seconds=45, at_once=1),
        Work(AlignCollection, decisions.align_collection, claim_seconds=45, at_once=1),
    ]
