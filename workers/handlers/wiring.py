"""Wiring of the handlers: each kind of job, what performs it, and the partners' clients that it needs."""

from contextlib import AsyncExitStack
from typing import Any, NamedTuple

from billing_api.commerce.billing_details.customer_mirror import CustomerMirror
from billing_api.commerce.dunning.renewal_notices import RenewalNotices
from billing_api.commerce.dunning.service import Dunning
from billing_api.commerce.stripe_mirror.service import Mirror
from billing_api.gateways.mail.choice import mail_relay
from billing_api.gateways.nextpanel import NextPanelGateway
from billing_api.gateways.stripe.client import StripeGateway
from billing_api.gateways.stripe.customer_details import StripeCustomerWriter
from billing_api.gateways.stripe.listing import StripeListing
from billing_api.identity.credentials.reset_links import ResetLinks
from billing_api.notifications.mails.rendering import MailRenderer
from billing_api.notifications.mails.service import Mails
from billing_api.operations.stripe_reconciliation.service import StripeReconciliation
from billing_api.operations.webhooks.service import WebhookProcessor
from billing_api.privacy.aftermath import CustomerErasure
from core.clock import utc_now
from core.jobs import AlignAccount, DeliverMail, ForgetCustomer, MailResetLink, Provision, UpdateStripeCustomer
from core.settings import WorkerSettings
from db.unit_of_work import Database
from workers.handlers.dunning import DunningSweep
from workers.handlers.mail import MailDelivery
from workers.handlers.money_back import money_back_works
from workers.handlers.overdue_subscriptions import OverdueSubscriptions
from workers.handlers.provisioning import Provisioning
from workers.handlers.stripe_reconciliation import StripeSweep
from workers.handlers.webhooks import WEBHOOK_CLAIM_SECONDS, webhook_work
from workers.jobs.dispatch import Work


class Handlers(NamedTuple):
    works: list[Work[Any]]
    overdue: OverdueSubscriptions
    dunning: DunningSweep
    stripe: StripeSweep
    """Not jobs: loops that read Stripe through the same client."""


def wire_handlers(settings: WorkerSettings, database: Database, closing: AsyncExitStack) -> Handlers:
    """`closing` closes the partners' clients."""
    nextpanel = NextPanelGateway(settings.nextpanel_url, settings.nextpanel_jwt_secret, utc_now)
    relay = mail_relay(settings.mail, utc_now)
    stripe = StripeGateway(settings.stripe)
    for gateway in (nextpanel, relay, stripe):
        closing.push_async_callback(gateway.close)
    provisioning = Provisioning(database, nextpanel, utc_now)
    renderer = MailRenderer(settings.secrets.sealer, public_url=settings.public_url, portal_url=settings.portal_url)
    mail = MailDelivery(database, relay, renderer)
    mirror = Mirror(database, stripe, settings.secrets, utc_now, within=WEBHOOK_CLAIM_SECONDS)
    reset_links = ResetLinks(database, Mails(settings.secrets), settings.secrets, utc_now)
    works: list[Work[Any]] = [
        webhook_work(WebhookProcessor(database, mirror, livemode=settings.stripe.livemode)),
        Work(Provision, provisioning.provision, claim_seconds=15, connections=2, on_death=provisioning.refuse),
        Work(AlignAccount, provisioning.align, claim_seconds=30, connections=2),
        Work(DeliverMail, mail.deliver, claim_seconds=15),
        Work(MailResetLink, reset_links.perform, claim_seconds=15, at_once=2),
        Work(ForgetCustomer, CustomerErasure(database, stripe).perform, claim_seconds=30, at_once=1),
        Work(
            UpdateStripeCustomer,
            CustomerMirror(database, StripeCustomerWriter(stripe)).perform,
            claim_seconds=30,
            at_once=1,
        ),
        *money_back_works(database, stripe, mirror, utc_now),
    ]
    overdue = OverdueSubscriptions(database, mirror, utc_now)
    dunning = DunningSweep(Dunning(database, stripe, mirror, utc_now), RenewalNotices(database, utc_now))
    reconciliation = StripeReconciliation(database, StripeListing(stripe.v1), mirror, utc_now)
    return Handlers(works, overdue, dunning, StripeSweep(reconciliation, utc_now))
