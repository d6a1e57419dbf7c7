"""Billing policy: what the seller decides about unpaid invoices, refunds and disputes. One value, checked as a whole.

Day 0 is an invoice's first failed try. `BillingPolicy.objections` says which of the rules a policy breaks; those that
one field alone can break are in the types.
"""

import itertools
from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from core.errors import FieldError

DunningMail = Literal["payment_failed", "payment_failed_again", "suspension_tomorrow"]
DunningDeed = Literal["suspend", "end"]
RefundEndsLicense = Literal["never", "full", "any"]
LicenseEffect = Literal["keep", "suspend", "end"]
"""What becomes of a license: of a refund by an administrator's wish, of a dispute by the policy."""

_LONGEST: Final = 365
_Day = Annotated[int, Meta(ge=0, le=_LONGEST, description="Days after the first failed try.", examples=[3])]


class DunningStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One step after a failed payment: a mail, or a deed. Exactly one of the two."""

    day: _Day
    mail: (
        Annotated[DunningMail, Meta(description="The mail that is sent.", examples=["payment_failed_again"])]
        | UnsetType
    ) = UNSET
    do: (
        Annotated[
            DunningDeed,
            Meta(
                description="`suspend`: the license, for the cause `unpaid`. `end`: subscription and license.",
                examples=["suspend"],
            ),
        ]
        | UnsetType
    ) = UNSET


class NoticeDays(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How many days before a renewal its owner is told, by interval; none is told where a number is absent."""

    month: Annotated[int, Meta(ge=1, le=28, description="Of a month.", examples=[3])] | UnsetType = UNSET
    year: Annotated[int, Meta(ge=1, le=90, description="Of a year.", examples=[30])] | UnsetType = UNSET


class BillingPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole policy."""

    grace_days: Annotated[int, Meta(ge=0, le=_LONGEST, description="How long a license goes on unpaid.", examples=[7])]
    dunning: Annotated[
        list[DunningStep],
        Meta(
            max_length=30,
            description="The steps after a failed payment, by rising day.",
            examples=[[{"day": 0, "mail": "payment_failed"}, {"day": 7, "do": "suspend"}, {"day": 30, "do": "end"}]],
        ),
    ]
    refund_ends_license: Annotated[
        RefundEndsLicense,
        Meta(
            description="Whether a refund ends the license: no, if the whole payment is back, or any refund.",
            examples=["full"],
        ),
    ]
    dispute: Annotated[
        LicenseEffect,
        Meta(description="What becomes of a license while a payment of it is disputed.", examples=["suspend"]),
    ]
    cancel_now_credit: Annotated[
        bool, Meta(description="Whether who cancels at once is credited the rest of the period.", examples=[False])
    ]
    tax: Annotated[bool, Meta(description="Whether Stripe Tax is used.", examples=[False])]
    renewal_notice_days: Annotated[
        NoticeDays, Meta(description="How long before a renewal its owner is told.", examples=[{"year": 30}])
    ]

    @property
    def grace(self) -> timedelta:
        return timedelta(days=self.grace_days)

    def ends_license(self, *, refunded_in_full: bool) -> bool:
        """Whether a refund for which nobody has said otherwise ends the license."""
        return self.refund_ends_license == "any" or (self.refund_ends_license == "full" and refunded_in_full)

    def objections(self) -> tuple[FieldError, ...]:
        """The rules that it breaks; none where it can be in force."""
        return (*_of_each_step(self.dunning), *_of_the_order(self.dunning), *_of_the_end(self))


DEFAULT: Final = BillingPolicy(
    grace_days=7,
    dunning=[
        DunningStep(0, mail="payment_failed"),
        DunningStep(3, mail="payment_failed_again"),
        DunningStep(6, mail="suspension_tomorrow"),
        DunningStep(7, do="suspend"),
        DunningStep(30, do="end"),
    ],
    refund_ends_license="full",
    dispute="suspend",
    cancel_now_credit=False,
    tax=False,
    renewal_notice_days=NoticeDays(year=30),
)


def _of_each_step(steps: list[DunningStep]) -> Iterator[FieldError]:
    for place, step in enumerate(steps):
        if (step.mail is UNSET) == (step.do is UNSET):
            yield FieldError(f"dunning[{place}]", "needs either mail or do, and not both")


def _of_the_order(steps: list[DunningStep]) -> Iterator[FieldError]:
    for place, (before, step) in enumerate(itertools.pairwise(steps), start=1):
        if step.day <= before.day:
            yield FieldError(f"dunning[{place}].day", f"must be later than the step before it, on day {before.day}")


def _of_the_end(policy: BillingPolicy) -> Iterator[FieldError]:
    suspends = [step.day for step in policy.dunning if step.do == "suspend"]
    ends = [place for place, step in enumerate(policy.dunning) if step.do == "end"]
    if len(suspends) != 1:
        yield FieldError("dunning", f"needs exactly one step that suspends, and has {len(suspends)}")
    elif policy.grace_days != suspends[0]:
        yield FieldError("grace_days", f"must be the day of the step that suspends, {suspends[0]}")
    if len(ends) > 1:
        yield FieldError("dunning", f"needs one end at most, and has {len(ends)}")
    if ends and ends[0] != len(policy.dunning) - 1:
        yield FieldError(f"dunning[{ends[0] + 1}]", "comes after the end; remove it, or move the end behind it")
