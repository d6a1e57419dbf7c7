"""Plan schemas for staff: plans as they are kept, created and edited, as JSON."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from billing_api.commerce.plans.prices import Currency
from billing_api.web.fields import CreatedAt, FeatureFlags, PlanCode, PlanId, UpdatedAt
from billing_api.web.parameters import STORABLE
from core.field_errors import FORM
from core.licensing.plan import LIMITS, with_limits
from core.money import Money
from db.models.licensing import LicenseType, Plan

_NAME: Any = Meta(min_length=1, max_length=80, pattern=STORABLE, extra={FORM: "printable text"})
_TEXT: Any = Meta(min_length=1, max_length=500, pattern=STORABLE, extra={FORM: "printable text"})
_AMOUNT: Any = Meta(ge=1, le=99_999_999)
_LIMIT: Any = Meta(ge=0, le=1_000_000)
Amount = Annotated[int, _AMOUNT]
Name = Annotated[Annotated[str, _NAME], Meta(description="Its name, for people.", examples=["Agency"])]
Description = Annotated[
    Annotated[str, _TEXT], Meta(description="What it is for, for people.", examples=["For growing teams."])
]
TrialDays = Annotated[
    Annotated[int, Meta(ge=1, le=730)] | None,
    Meta(description="For how many days a customer may try it; null: not at all.", examples=[14]),
]
PriceByInterval = Annotated[
    Amount,
    Meta(description="In minor units of the plan's currency.", examples=[4900]),
]


class CurrencyPrices(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the plan costs in another currency, in its minor units."""

    month: Annotated[Amount, Meta(description="A month.", examples=[4500])]
    year: Annotated[Amount, Meta(description="A year.", examples=[45000])]


OtherPrices = Annotated[
    dict[Currency, CurrencyPrices],
    Meta(
        description="Its prices in other currencies than its own. Without a price there it is not sold there.",
        examples=[{"eur": {"month": 4500, "year": 45000}}],
    ),
]


class _Created(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    code: PlanCode
    name: Name
    license_type: Annotated[LicenseType, Meta(description="Its tier; several plans may share one.")]
    description: Description
    currency: Annotated[Currency, Meta(description="Its own currency; it never changes.")]
    price_monthly: PriceByInterval
    price_yearly: PriceByInterval
    currency_prices: OtherPrices = {}
    trial_days: TrialDays = None
    features: FeatureFlags = {}


class _Edited(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    name: Name | UnsetType = UNSET
    description: Description | UnsetType = UNSET
    price_monthly: PriceByInterval | UnsetType = UNSET
    price_yearly: PriceByInterval | UnsetType = UNSET
    currency_prices: OtherPrices | UnsetType = UNSET
    trial_days: TrialDays | UnsetType = UNSET
    features: FeatureFlags | UnsetType = UNSET


class _Shown(msgspec.Struct, frozen=True, kw_only=True):
    id: PlanId
    code: PlanCode
    name: Name
    license_type: LicenseType
    description: Description
    is_on_sale: Annotated[bool, Meta(description="False: it is retired; its subscribers keep it.", examples=[True])]
    is_published: Annotated[
        bool,
        Meta(description="Whether Stripe has these prices. Where not, `make push-plans` does it.", examples=[True]),
    ]
    price_monthly: Annotated[Money, Meta(description="What a month costs, before taxes and discounts.")]
    price_yearly: Annotated[Money, Meta(description="What a year costs, before taxes and discounts.")]
    currency_prices: OtherPrices
    trial_days: TrialDays
    features: FeatureFlags
    subscribers: Annotated[int, Meta(description="Its subscriptions that run, at whatever price.", examples=[12])]
    created_at: CreatedAt
    updated_at: UpdatedAt


if TYPE_CHECKING:
    _CreatedWithLimits = _Created
    _EditedWithLimits = _Edited
    _ShownWithLimits = _Shown
else:
    _CreatedWithLimits = with_limits(_Created, Annotated[int, _LIMIT] | None)
    _EditedWithLimits = with_limits(_Edited, Annotated[int, _LIMIT] | None | UnsetType, default=UNSET)
    _ShownWithLimits = with_limits(_Shown, int | None)


class CreatePlan(_CreatedWithLimits, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A plan to sell. A limit that is null is unlimited."""


class EditPlan(_EditedWithLimits, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What of a plan becomes different; absent fields stay. No license that runs is changed by it."""

    def given(self) -> Mapping[str, Any]:
        named = {name: getattr(self, name) for name in self.__struct_fields__}
        return {name: msgspec.to_builtins(value) for name, value in named.items() if value is not UNSET}


class AdminPlanView(_ShownWithLimits, frozen=True, kw_only=True):
    """A plan, as staff read it."""

    @classmethod
    def of(cls, plan: Plan, subscribers: int) -> "AdminPlanView":
        return cls(
            id=plan.id,
            code=plan.code,
            name=plan.name,
            license_type=plan.license_type,
            description=plan.description,
            is_on_sale=plan.is_active,
            is_published=plan.is_active
            and plan.stripe_price_id_monthly is not None
            and plan.stripe_price_id_yearly is not None,
            price_monthly=Money(plan.price_monthly, plan.currency),
            price_yearly=Money(plan.price_yearly, plan.currency),
            currency_prices=msgspec.convert(plan.currency_prices, dict[Currency, CurrencyPrices]),
            trial_days=plan.trial_days,
            features=plan.features,
            subscribers=subscribers,
            created_at=plan.created_at,
            updated_at=plan.updated_at,
            **{limit: getattr(plan, limit) for limit in LIMITS},
        )


class PlanList(msgspec.Struct, frozen=True):
    """All plans."""

    items: Annotated[list[AdminPlanView], Meta(description="Those on sale first, the cheapest first.")]
