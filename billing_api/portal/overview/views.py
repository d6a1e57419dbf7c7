"""Overview read models: rows as the repository finds them."""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from db.models.commerce import Subscription
from db.models.licensing import Plan


class Standing(NamedTuple):
    """Of the account, and how much it has."""

    is_active: bool
    email_verified_at: datetime | None
    licenses: int
    active_licenses: int
    subscriptions: int
    open_invoices: int
    invoices: int


class Found(NamedTuple):
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


class NextPeriod(NamedTuple):
    """A subscription with its plan and its pending plan."""

    subscription: Subscription
    plan: Plan
    pending_plan: Plan | None
