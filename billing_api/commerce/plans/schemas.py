"""Plan schemas: plans as JSON."""

from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from billing_api.web.fields import FeatureFlags, PlanId, PlanName
from core.licensing.plan import with_limits
from core.money import Money
from db.models.licensing import LicenseType, Plan


class _PlanFacts(msgspec.Struct, frozen=True, kw_only=True):
    id: PlanId
    name: PlanName
    license_type: LicenseType
    description: Annotated[
        str, Meta(description="What it is for, for people.", examples=["For agencies and growing teams."])
    ]
    price_monthly: Annotated[Money, Meta(description="What a month costs, before taxes and discounts.")]
    price_yearly: Annotated[
        Money,
        Meta(
            description="What a year costs, before taxes and discounts.",
            examples=[{"amount": 99000, "currency": "usd"}],
        ),
    ]
    features: FeatureFlags


if TYPE_CHECKING:
    _PlanFactsWithLimits = _PlanFacts
else:
    _PlanFactsWithLimits = with_limits(_PlanFacts, int | None)


class PlanView(_PlanFactsWithLimits, frozen=True, kw_only=True):
    """A plan on sale."""

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
