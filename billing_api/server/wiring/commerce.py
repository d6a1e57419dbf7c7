"""Wiring of commerce: plans, checkout, subscriptions, payments and cards."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import get_args

from billing_api.commerce.billing_details.service import BillingDetailsService
from billing_api.commerce.billing_settings.service import BillingSettingsService
from billing_api.commerce.checkout.service import CheckoutService
from billing_api.commerce.disputes.service import DisputeAdministration
from billing_api.commerce.invoices.admin_service import InvoiceAdministration
from billing_api.commerce.invoices.service import InvoiceService
from billing_api.commerce.payment_methods.service import PaymentMethodService
from billing_api.commerce.payments.service import PaymentAdministration, PaymentService
from billing_api.commerce.plans.administration import PlanAdministration
from billing_api.commerce.plans.prices import Currency
from billing_api.commerce.plans.service import PlanService, PlansOnSale
from billing_api.commerce.promotions.service import PromotionService
from billing_api.commerce.refunds.service import RefundService
from billing_api.commerce.stripe_customers.service import StripeCustomers
from billing_api.commerce.stripe_mirror.service import Mirror
from billing_api.commerce.subscriptions.administration import SubscriptionAdministration
from billing_api.commerce.subscriptions.ends import Ends
from billing_api.commerce.subscriptions.previews import Previews
from billing_api.commerce.subscriptions.service import SubscriptionService
from billing_api.gateways.stripe.endings import BY_ITS_CUSTOMER, StripeEndings
from billing_api.gateways.stripe.invoice_deeds import StripeInvoiceDeeds
from billing_api.gateways.stripe.payment_methods import StripePaymentMethods
from billing_api.gateways.stripe.subscription_changes import StripeChanges
from billing_api.server.wiring.infrastructure import Infrastructure
from billing_api.web.kept_answer import KeptAnswer


@dataclass(frozen=True)
class CommerceServices:
    plans: Mapping[Currency | None, KeptAnswer]
    plan_administration: PlanAdministration
    promotions: PromotionService
    checkouts: CheckoutService
    subscriptions: SubscriptionService
    payments: PaymentService
    invoices: InvoiceService
    invoice_administration: InvoiceAdministration
    billing_settings: BillingSettingsService
    payment_methods: PaymentMethodService
    billing_details: BillingDetailsService
    payment_administration: PaymentAdministration
    subscription_administration: SubscriptionAdministration
    refunds: RefundService
    disputes: DisputeAdministration


def commerce(on: Infrastructure) -> CommerceServices:
    database, stripe = on.database, on.stripe
    changes, wallets = StripeChanges(stripe), StripePaymentMethods(stripe)
    mirror = Mirror(database, stripe, on.settings.secrets, on.clock)
    ends = Ends(database, changes, StripeEndings(stripe.v1, unanswered=BY_ITS_CUSTOMER), on.clock)
    return CommerceServices(
        plans={
            currency: KeptAnswer(partial(PlansOnSale(on.system_reads).read, currency), cache_control="no-cache")
            for currency in (None, *get_args(Currency))
        },
        plan_administration=PlanAdministration(database, stripe),
        promotions=PromotionService(database, stripe, on.clock),
        checkouts=CheckoutService(database, on.reads, stripe, mirror, on.clock, public_url=on.settings.public_url),
        subscriptions=SubscriptionService(
            database,
            on.reads,
            stripe,
            changes,
            mirror,
            Previews(database, stripe, changes, PlanService(database), on.clock),
            ends,
            wallets,
        ),
        payments=PaymentService(on.reads),
        invoices=InvoiceService(on.reads, StripeCustomers(database, stripe), on.documents),
        invoice_administration=InvoiceAdministration(
            database, StripeInvoiceDeeds(stripe.v1), wallets, on.documents, mirror
        ),
        subscription_administration=SubscriptionAdministration(database, stripe, mirror, ends),
        payment_administration=PaymentAdministration(database),
        refunds=RefundService(database, on.clock),
        disputes=DisputeAdministration(database, stripe, mirror),
        billing_settings=BillingSettingsService(database),
        billing_details=BillingDetailsService(database),
        payment_methods=PaymentMethodService(
            database,
            wallets,
            StripeCustomers(database, stripe),
            mirror,
            publishable_key=on.settings.portal.stripe_publishable_key,
        ),
    )
