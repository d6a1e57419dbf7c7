"""Plans on the wire."""

from typing import Any
from uuid import UUID

import msgspec

from core.money import Money
from db.models.licensing import LicenseType, Plan


class PlanView(msgspec.Struct, frozen=True, kw_only=True):
    """What is on offer; prices in minor units, a limit of null is unlimited."""

    id: UUID
    name: str
    license_type: LicenseType
    description: str
    price_monthly: Money
    price_yearly: Money
    features: dict[str, Any]
    max_accounts: int | None
    max_domains: int | None
    max_databases: int | None
    max_emails: int | None
    max_storage_gb: int | None

    @classmethod
    def of(cls, plan: Plan) -> "PlanView":
        return cls(
            id=plan.id,
            name=plan.name,
            license_type=plan.license_type,
            description=plan.description,
            price_monthly=Money(plan.price_monthly, plan.currency),
            price_yearly=Money(plan.price_yearly, plan.currency),
            features=plan.features,
            max_accounts=plan.max_accounts,
            max_domains=plan.max_domains,
            max_databases=plan.max_databases,
            max_emails=plan.max_emails,
            max_storage_gb=plan.max_storage_gb,
        )
