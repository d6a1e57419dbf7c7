"""Routes: the list of all controllers and handlers. A handler's import says which file answers its path."""

from collections.abc import Sequence
from typing import Final

from litestar import Router
from litestar.types import ControllerRouterHandler

from billing_api.commerce.billing_details.controller import BillingDetailsController
from billing_api.commerce.billing_settings.controller import AdminBillingSettingsController
from billing_api.commerce.checkout.controller import CheckoutController, checkout_return
from billing_api.commerce.disputes.controller import AdminDisputeController
from billing_api.commerce.invoices.admin_controller import AdminBalanceController, AdminInvoiceController
from billing_api.commerce.invoices.controller import BalanceController, InvoiceController
from billing_api.commerce.payment_methods.controller import PaymentMethodController
from billing_api.commerce.payments.admin_controller import AdminPaymentController
from billing_api.commerce.payments.controller import PaymentController
from billing_api.commerce.plans.admin_controller import AdminPlanController
from billing_api.commerce.plans.controller import PlanController
from billing_api.commerce.promotions.controller import AdminCouponController, AdminPromotionCodeController
from billing_api.commerce.refunds.controller import AdminRefundController
from billing_api.commerce.subscriptions.admin_controller import AdminSubscriptionController
from billing_api.commerce.subscriptions.controller import SubscriptionController
from billing_api.identity.accounts.controller import AuthController, MeController, show_verification, verify_by_form
from billing_api.identity.credentials.controller import PAGES as CREDENTIAL_PAGES
from billing_api.identity.credentials.controller import EmailController, MyCredentialsController, PasswordController
from billing_api.identity.oauth.admin_controller import AdminServiceAccountController
from billing_api.identity.oauth.controller import OAuthClientController, grant_token
from billing_api.identity.second_factor.controller import SecondFactorController
from billing_api.identity.sessions.controller import SessionController
from billing_api.identity.step_up.controller import step_up
from billing_api.identity.users.controller import AccountEventController, AdminUserController
from billing_api.licensing.activation.controller import (
    AdminActivationController,
    LicenseActivationController,
    activate_panel,
)
from billing_api.licensing.api_keys.admin_controller import AdminPlatformKeyController
from billing_api.licensing.api_keys.controller import ApiKeyController, LicenseApiKeyController
from billing_api.licensing.leases.controller import get_lease_keys
from billing_api.licensing.licenses.admin_controller import AdminLicenseController
from billing_api.licensing.licenses.controller import LicenseController, show_key_page
from billing_api.licensing.usage.controller import report_usage
from billing_api.licensing.usage_history.controller import AdminUsageHistoryController, UsageHistoryController
from billing_api.operations.audit.controller import AdminAuditController, LicenseEventController
from billing_api.operations.customers.everything.controller import AdminCustomerController
from billing_api.operations.customers.explain.controller import AdminExplanationController
from billing_api.operations.customers.notes.controller import AdminNoteController
from billing_api.operations.jobs.controller import AdminJobController
from billing_api.operations.reconciliation.controller import AdminReconciliationController
from billing_api.operations.search.controller import AdminSearchController
from billing_api.operations.webhooks.controller import AdminWebhookController, receive_stripe_event
from billing_api.portal.config.controller import get_portal_config
from billing_api.portal.overview.controller import get_overview
from billing_api.privacy.controller import PrivacyController
from billing_api.server import health
from billing_api.web.problem_pages import show_problem

ROUTES: Final[Sequence[ControllerRouterHandler]] = (
    Router(
        path="/api/v1",
        route_handlers=[
            AuthController,
            PasswordController,
            EmailController,
            MeController,
            MyCredentialsController,
            SecondFactorController,
            step_up,
            OAuthClientController,
            grant_token,
            SessionController,
            AccountEventController,
            PrivacyController,
            get_portal_config,
            get_overview,
            PlanController,
            CheckoutController,
            LicenseController,
            LicenseActivationController,
            LicenseApiKeyController,
            LicenseEventController,
            ApiKeyController,
            activate_panel,
            UsageHistoryController,
            SubscriptionController,
            InvoiceController,
            BalanceController,
            PaymentController,
            PaymentMethodController,
            BillingDetailsController,
            report_usage,
            receive_stripe_event,
            AdminUserController,
            AdminLicenseController,
            AdminActivationController,
            AdminPlatformKeyController,
            AdminCustomerController,
            AdminNoteController,
            AdminExplanationController,
            AdminServiceAccountController,
            AdminAuditController,
            AdminUsageHistoryController,
            AdminWebhookController,
            AdminJobController,
            AdminReconciliationController,
            AdminBillingSettingsController,
            AdminPlanController,
            AdminCouponController,
            AdminPromotionCodeController,
            AdminSubscriptionController,
            AdminPaymentController,
            AdminInvoiceController,
            AdminBalanceController,
            AdminRefundController,
            AdminDisputeController,
            AdminSearchController,
        ],
    ),
    checkout_return,
    show_verification,
    verify_by_form,
    *CREDENTIAL_PAGES,
    show_key_page,
    show_problem,
    get_lease_keys,
    health.get_liveness,
    health.get_readiness,
    health.get_dependencies,
)
