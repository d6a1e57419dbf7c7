"""Routes of the billing settings, for staff."""

from litestar import Controller, get, put
from litestar.di import NamedDependency
from litestar.params import JSONBody

from billing_api.access.permissions import Permission, Principal
from billing_api.commerce.billing_settings.service import BillingSettingsService
from billing_api.web.problems import documented
from core.billing_policy import BillingPolicy
from core.errors import Unprocessable


class AdminBillingSettingsController(Controller):
    path = "/admin/settings/billing"
    tags = ("admin",)

    @get("/", permission=Permission.BILLING_VIEW)
    async def get_billing_settings(
        self, principal: NamedDependency[Principal], billing_settings: NamedDependency[BillingSettingsService]
    ) -> BillingPolicy:
        """Read the billing settings.

        What follows from failed payments, refunds and disputes. The default until they are changed.
        """
        return await billing_settings.policy(principal)

    @put("/", permission=Permission.BILLING_CHANGE, responses={422: documented(Unprocessable)})
    async def replace_billing_settings(
        self,
        principal: NamedDependency[Principal],
        billing_settings: NamedDependency[BillingSettingsService],
        data: JSONBody[BillingPolicy],
    ) -> BillingPolicy:
        """Replace the billing settings.

        As a whole: read them, change them, send them back. `grace_days` is the day of the step that suspends; days
        rise, and nothing comes after the end.
        """
        return await billing_settings.replace(principal, data)
