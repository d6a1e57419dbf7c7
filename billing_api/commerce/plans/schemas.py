"""Plan schemas: plans as JSON."""

from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from core.licensing.plan import with_limits
from core.money import Money
from db.models.licensing import LicenseType, Plan


class _PlanFacts(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    name: str
    license_type: LicenseType
    description: str
    price_monthly: Money
    price_yearly: Money
    features: dict[str, Any]


if TYPE_CHECKING:
    _PlanFactsWithLimits = _PlanFacts
else:
    _PlanFactsWithLimits = with_limits(_PlanFacts, int | None)


class PlanView(_PlanFactsWithLimits, frozen=True, kw_only=True):
    """A plan on sale. Prices are in minor units; a limit of null is unlimited."""

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
            **plan.limits.by_name(),
        )
