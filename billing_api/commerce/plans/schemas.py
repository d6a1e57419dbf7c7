"""Plan schemas: plans as JSON."""

from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from billing_api.web.fields import FeatureFlags, PlanId, PlanName
from core.licensing.plan import LIMITS, with_limits
from core.money import Money
from db.models.licensing import LicenseType
from db.reads import Record


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
    def read(cls, row: Record) -> "PlanView":
        """From a row of repository.ON_SALE."""
        return cls(
            id=row.id,
            name=row.name,
            license_type=row.license_type,
            description=row.description,
            price_monthly=Money(row.price_monthly, row.currency),
            price_yearly=Money(row.price_yearly, row.currency),
            features=row.features,
            **{limit: getattr(row, limit) for limit in LIMITS},
        )
