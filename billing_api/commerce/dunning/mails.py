"""Mails about a renewal that nobody paid, and about renewals to come."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from billing_api.commerce.billing_details.repository import recipient_of_bills
from billing_api.commerce.dunning import schedule
from billing_api.commerce.dunning.repository import Case
from billing_api.gateways.stripe.facts import InvoiceFacts
from billing_api.notifications.mails.service import queue_mail
from core.billing_policy import BillingPolicy, DunningDeed, DunningStep
from core.money import Money
from db.models.commerce import Subscription
from db.models.identity import User
from db.unit_of_work import SystemTransaction

_OF_DEEDS: Final[Mapping[DunningDeed, str]] = {"suspend": "license_suspended", "end": "license_ended_unpaid"}
_NEEDS_OWNER: Final = "payment_needs_confirmation"
"""In place of the mails that say that the payment failed: the card is good, and its bank asks for its owner."""
_ABOUT_A_FAILURE: Final = ("payment_failed", "payment_failed_again")


async def tell(
    tx: SystemTransaction, case: Case, step: DunningStep, invoice: InvoiceFacts, policy: BillingPolicy, now: datetime
) -> None:
    """Tells the owner of the step that was taken."""
    template = step.mail or _OF_DEEDS[step.do or "end"]
    if template in _ABOUT_A_FAILURE and invoice.needs_its_owner:
        template = _NEEDS_OWNER
    failed_at = case.invoice.first_failed_at or now
    parameters = {
        "amount": str(Money(invoice.amount_due - invoice.amount_paid, invoice.currency)),
        "invoice": invoice.number or invoice.id,
        "pay_url": invoice.page_url or "",
        "next_attempt_on": _day(invoice.next_attempt_at),
        "license_id": str(case.license.id),
        "subscription_id": str(case.subscription.id),
    }
    for deed, name in (("suspend", "suspension_on"), ("end", "end_on")):
        planned = next((one for one in policy.dunning if one.do == deed), None)
        at = None if planned is None else schedule.due_at(planned, failed_at, case.in_force_until)
        parameters[name] = _day(at)
    await _queue(tx, case.user, template, f"{case.invoice.id}:{step.day}", parameters, now)


async def tell_of_renewal(tx: SystemTransaction, subscription: Subscription, user: User, now: datetime) -> None:
    """Once for each period. No amount where another plan begins with the next period."""
    end, amount = subscription.current_period_end, subscription.renewal_amount
    known = amount is not None and subscription.renewal_currency is not None and subscription.pending_plan_id is None
    parameters = {
        "amount": str(Money(amount or 0, subscription.renewal_currency or "")) if known else "",
        "renewal_on": _day(end),
        "license_id": str(subscription.license_id),
        "subscription_id": str(subscription.id),
    }
    await _queue(tx, user, "renewal_notice", f"{subscription.id}:{end:%Y-%m-%d}", parameters, now)


async def _queue(
    tx: SystemTransaction, user: User, template: str, occasion: str, parameters: Mapping[str, str], now: datetime
) -> None:
    if user.deleted_at is not None:
        return
    recipient = await recipient_of_bills(tx, user)
    await queue_mail(
        tx, template, user_id=user.id, recipient=recipient, occasion=occasion, now=now, parameters=parameters
    )


def _day(instant: datetime | None) -> str:
    """In UTC, as "1 December 2026"; empty where there is none."""
    return "" if instant is None else f"{instant.day} {instant:%B %Y}"
