"""Plan schemas: plans as JSON."""

from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from billing_api.commerce.plans.prices import prices
from billing_api.web.fields import FeatureFlags, PlanCode, PlanId, PlanName
from core.licensing.plan import LIMITS, with_limits
from core.money import Money
from db.models.licensing import Interval, LicenseType
from db.reads import Record


class _PlanFacts(msgspec.Struct, frozen=True, kw_only=True):
    id: PlanId
    code: PlanCode
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
    currencies: Annotated[list[str], Meta(description="In which it is sold, its own first.", examples=[["usd", "eur"]])]
    trial_days: Annotated[
        int | None, Meta(description="For how many days it may be tried; null: not at all.", examples=[14])
    ]
    features: FeatureFlags


if TYPE_CHECKING:
    _PlanFactsWithLimits = _PlanFacts
else:
    _PlanFactsWithLimits = with_limits(_PlanFacts, int | None)


class PlanView(_PlanFactsWithLimits, frozen=True, kw_only=True):
    """A plan on sale."""

    @classmethod
    def read(cls, row: Record, currency: str | None = None) -> "PlanView":
        """From a row of repository.ON_SALE, with its prices in that currency; by default in its own."""
        shown = row.currency if currency is None else currency
        return cls(
            id=row.id,
            code=row.code,
            name=row.name,
            license_type=row.license_type,
            description=row.description,
            price_monthly=Money(prices(row, Interval.MONTH)[shown], shown),
            price_yearly=Money(prices(row, Interval.YEAR)[shown], shown),
            currencies=list(prices(row, Interval.MONTH)),
            trial_days=row.trial_days,
            features=row.features,
            **{limit: getattr(row, limit) for limit in LIMITS},
        )
