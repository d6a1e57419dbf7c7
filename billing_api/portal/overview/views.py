"""Overview read models: rows as the repository's statement gives them in JSON."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from core.licensing.plan import Resource
from core.licensing.state import Status
from db.models.licensing import Interval, LicenseType, ProvisioningState


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """A license. `used`: null where nothing was reported; a total can be below zero, after reports out of order."""

    id: UUID
    label: str | None
    key_hint: str | None
    plan: str
    license_type: LicenseType
    status: Status
    status_message: str | None
    provisioning: ProvisioningState
    subscription_id: UUID | None
    expiry_date: datetime | None
    grace_until: datetime | None
    auto_renew: bool
    limits: dict[Resource, int | None]
    used: dict[str, int] | None


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """Something that needs attention; the fields of `schemas.Attention`."""

    kind: Any
    license_id: UUID | None = None
    subscription_id: UUID | None = None
    label: str | None = None
    at: datetime | None = None
    resource: Any = None
    over: int | None = None
    message: str | None = None
    payment_url: str | None = None


class FoundOf(Found, frozen=True, kw_only=True):
    """`total`: of how many."""

    total: int


class PlanPrices(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    currency: str
    price_monthly: int
    price_yearly: int


class NextPeriod(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription with its plan and its pending plan."""

    id: UUID
    license_id: UUID
    interval: Interval
    current_period_end: datetime
    renewal_amount: int | None
    renewal_currency: str | None
    pending_from: datetime | None
    pending_interval: Interval | None
    plan: PlanPrices
    pending_plan: PlanPrices | None
