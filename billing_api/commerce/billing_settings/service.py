"""Use cases of the billing settings: administrators read the policy and replace it as a whole."""

import msgspec

from billing_api.access.permissions import Principal
from billing_api.commerce.billing_settings import repository
from core.billing_policy import BillingPolicy
from core.errors import Unprocessable
from db.unit_of_work import Database


class BillingSettingsService:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def policy(self, principal: Principal) -> BillingPolicy:
        async with self._database.as_staff(principal.user_id) as tx:
            return await repository.policy_in_force(tx)

    async def replace(self, principal: Principal, wanted: BillingPolicy) -> BillingPolicy:
        """In force from the next decision on. Unprocessable where the parts do not fit together."""
        if objections := wanted.objections():
            told = "; ".join(f"{one.field} {one.detail}" for one in objections)
            raise Unprocessable(f"the settings do not fit together: {told}", errors=objections)
        async with self._database.as_staff(principal.user_id) as tx:
            before = await repository.lock(tx)
            if before != wanted:
                await repository.store(tx, wanted)
                changed = {"before": msgspec.to_builtins(before), "after": msgspec.to_builtins(wanted)}
                await tx.audit("billing_settings.changed", "settings", "billing", **changed)
        return wanted
