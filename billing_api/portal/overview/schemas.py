"""Overview as JSON."""

from datetime import datetime
from typing import Annotated, Final, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from billing_api.commerce.invoices.schemas import InvoiceSummary
from billing_api.portal.overview.views import Card, FoundOf, NextPeriod
from billing_api.web import fields
from core.licensing.plan import RESOURCES, Resource
from core.licensing.state import Status
from core.money import Money
from db.models.licensing import Interval, LicenseType, ProvisioningState
from db.reads import Record

AttentionKind = Literal[
    "address_unverified",
    "payment_past_due",
    "payment_confirmation",
    "license_suspended",
    "over_limit",
    "subscription_ending",
    "license_expired",
    "license_expiring",
]
_AT: Final = "2026-03-10T08:00:00Z"
_MONEY: Final = {"amount": 2900, "currency": "usd"}


class Used(msgspec.Struct, frozen=True):
    """One resource of a license, as last reported. Reservations are not in it: `licenses/{id}/usage` has them."""

    used: Annotated[int, Meta(description="How many there are.", examples=[12])]
    limit: Annotated[int | None, Meta(description="The most that the license allows; null: unlimited.", examples=[25])]
    over: Annotated[int, Meta(description="By how much `used` exceeds the limit.", examples=[0])]

    @classmethod
    def of(cls, used: int, limit: int | None) -> "Used":
        return cls(used, limit, 0 if limit is None else max(0, used - limit))


class LicenseCard(msgspec.Struct, frozen=True, kw_only=True):
    """A license in short; `licenses/{id}` has the rest."""

    id: Annotated[UUID, Meta(description="The license's id.", examples=[fields.LICENSE])]
    label: Annotated[str | None, Meta(description="The owner's own name for it.", examples=["Shop, Graz"])]
    key_hint: Annotated[str | None, Meta(description="The end of the key; null: not known yet.", examples=["…7Q4K"])]
    plan: Annotated[str, Meta(description="The plan's name.", examples=["Professional"])]
    license_type: Annotated[LicenseType, Meta(description="The kind of plan.", examples=["professional"])]
    status: Annotated[Status, Meta(description="How it stands now.", examples=["active"])]
    status_message: Annotated[str | None, Meta(description="What staff wrote about it.", examples=["Please call us."])]
    provisioning: Annotated[ProvisioningState, Meta(description="Of its account at NextPanel.", examples=["done"])]
    subscription_id: Annotated[
        UUID | None, Meta(description="What pays for it; null: nothing does.", examples=[fields.SUBSCRIPTION])
    ]
    expiry_date: Annotated[datetime | None, Meta(description="When it ends; null: never.", examples=[_AT])]
    grace_until: Annotated[
        datetime | None, Meta(description="Until when it works after that; null: no longer.", examples=[_AT])
    ]
    auto_renew: Annotated[bool, Meta(description="Whether a subscription renews it.", examples=[True])]
    usage: Annotated[
        dict[Resource, Used],
        Meta(description="By resource.", examples=[{"databases": {"used": 12, "limit": 25, "over": 0}}]),
    ]

    @classmethod
    def of(cls, card: Card) -> "LicenseCard":
        used = card.used or {}
        return cls(
            id=card.id,
            label=card.label,
            key_hint=card.key_hint,
            plan=card.plan,
            license_type=card.license_type,
            status=card.status,
            status_message=card.status_message,
            provisioning=card.provisioning,
            subscription_id=card.subscription_id,
            expiry_date=card.expiry_date,
            grace_until=card.grace_until,
            auto_renew=card.auto_renew,
            usage={name: Used.of(max(0, used.get(name, 0)), card.limits[name]) for name in RESOURCES},
        )


class Attention(msgspec.Struct, frozen=True, kw_only=True):
    """Something that the customer should look at. What does not apply to its kind is null."""

    kind: Annotated[AttentionKind, Meta(description="What it is, the most urgent first.", examples=["over_limit"])]
    license_id: Annotated[UUID | None, Meta(description="Of which license.", examples=[fields.LICENSE])] = None
    subscription_id: Annotated[
        UUID | None, Meta(description="Of which subscription.", examples=[fields.SUBSCRIPTION])
    ] = None
    label: Annotated[str | None, Meta(description="The license's label.", examples=["Shop, Graz"])] = None
    at: Annotated[datetime | None, Meta(description="When it ends, or ended.", examples=[_AT])] = None
    resource: Annotated[Resource | None, Meta(description="Of which resource.", examples=["databases"])] = None
    over: Annotated[int | None, Meta(description="By how much it exceeds the limit.", examples=[3])] = None
    message: Annotated[str | None, Meta(description="What staff wrote.", examples=["Please call us."])] = None
    payment_url: Annotated[
        str | None,
        Meta(description="Where the payment is confirmed.", examples=["https://invoice.stripe.com/i/acct_1/test_2"]),
    ] = None

    @classmethod
    def of(cls, found: FoundOf) -> "Attention":
        return cls(**{name: getattr(found, name) for name in cls.__struct_fields__})


class NextRenewal(msgspec.Struct, frozen=True, kw_only=True):
    """The next period that will be charged, as far as our copy of Stripe's objects tells."""

    at: Annotated[datetime, Meta(description="When it begins.", examples=[_AT])]
    subscription_id: Annotated[UUID, Meta(description="Which subscription.", examples=[fields.SUBSCRIPTION])]
    license_id: Annotated[UUID, Meta(description="Which license.", examples=[fields.LICENSE])]
    plan: Annotated[str, Meta(description="The plan of that period.", examples=["Professional"])]
    interval: Annotated[Interval, Meta(description="The length of that period.", examples=["month"])]
    amount: Annotated[Money, Meta(description="Before taxes, discounts and credit.", examples=[_MONEY])]
    is_list_price: Annotated[
        bool,
        Meta(description="Whether the amount is what the plan costs today, not what Stripe told us.", examples=[False]),
    ]

    @classmethod
    def of(cls, next_period: NextPeriod) -> "NextRenewal":
        row, plan, pending = next_period, next_period.plan, next_period.pending_plan
        # A change that waits for its payment (no `pending_from`) is charged at once, not with this period.
        changes = pending is not None and row.pending_from is not None and row.pending_from <= row.current_period_end
        interval = row.interval
        if pending is not None and changes:
            plan, interval = pending, row.pending_interval or row.interval
        told = None if changes or row.renewal_currency is None else row.renewal_amount
        price = plan.price_monthly if interval is Interval.MONTH else plan.price_yearly
        return cls(
            at=row.current_period_end,
            subscription_id=row.id,
            license_id=row.license_id,
            plan=plan.name,
            interval=interval,
            amount=Money(price, plan.currency) if told is None else Money(told, row.renewal_currency or plan.currency),
            is_list_price=told is None,
        )


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """How many there are in all."""

    licenses: Annotated[int, Meta(description="Licenses, whatever their status.", examples=[3])]
    active_licenses: Annotated[int, Meta(description="Licenses that work now.", examples=[2])]
    subscriptions: Annotated[int, Meta(description="Subscriptions that have not ended.", examples=[2])]
    open_invoices: Annotated[int, Meta(description="Invoices that wait for a payment.", examples=[0])]
    invoices: Annotated[int, Meta(description="All invoices.", examples=[8])]

    @classmethod
    def of(cls, row: Record) -> "Counts":
        return cls(**{name: getattr(row, name) for name in cls.__struct_fields__})


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """The first page of an account."""

    as_of: Annotated[datetime, Meta(description="When it was read.", examples=[_AT])]
    counts: Annotated[Counts, Meta(description="How many there are in all.")]
    attention: Annotated[
        list[Attention], Meta(description="What needs the customer, the most urgent first; at most 20.")
    ]
    attention_total: Annotated[int, Meta(description="How much needs the customer in all.", examples=[1])]
    licenses: Annotated[list[LicenseCard], Meta(description="The newest first; at most 20.")]
    next_renewal: Annotated[NextRenewal | None, Meta(description="What is charged next; null: nothing is.")]
    recent_invoices: Annotated[
        list[InvoiceSummary],
        Meta(
            description="The newest first; at most 5.",
            examples=[
                [
                    {
                        "id": fields.INVOICE,
                        "number": "NP-0001",
                        "subscription_id": fields.SUBSCRIPTION,
                        "amount_due": _MONEY,
                        "amount_paid": _MONEY,
                        "status": "paid",
                        "invoice_pdf_url": None,
                        "created_at": _AT,
                        "due_date": None,
                        "paid_at": _AT,
                    }
                ]
            ],
        ),
    ]

    @classmethod
    def read(cls, row: Record, now: datetime, *, most_attention: int) -> "Overview":
        """From a row of repository.OVERVIEW."""
        found = _FOUND.decode(row.attention)
        needed, total = [Attention.of(one) for one in found], found[0].total if found else 0
        if row.email_verified_at is None:
            needed, total = [Attention(kind="address_unverified"), *needed][:most_attention], total + 1
        return cls(
            as_of=now,
            counts=Counts.of(row),
            attention=needed,
            attention_total=total,
            licenses=[LicenseCard.of(card) for card in _CARDS.decode(row.newest_licenses)],
            next_renewal=next((NextRenewal.of(period) for period in _PERIODS.decode(row.next_period)), None),
            recent_invoices=_INVOICES.decode(row.newest_invoices),
        )


_CARDS: Final = msgspec.json.Decoder(list[Card])
_FOUND: Final = msgspec.json.Decoder(list[FoundOf])
_PERIODS: Final = msgspec.json.Decoder(list[NextPeriod])
_INVOICES: Final = msgspec.json.Decoder(list[InvoiceSummary])
