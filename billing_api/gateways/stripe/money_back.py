"""Charges, refunds and disputes at Stripe: read as facts, ordered under keys, answered with evidence.

A charge is read with all of its refunds and disputes, so that one look tells what became of the money.
"""

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec
import stripe
from stripe._v1_services import V1Services

from billing_api.gateways.stripe.client import stripe_errors_mapped
from core.errors import NotFound

REFUND_ID: Final = "np_refund_id"
"""The metadata field that carries our refund's id."""
_UNKNOWN: Final = "Stripe does not answer, so it may have been done or not. Read it again before you repeat the request"
_A_PAGE: Final = 100


class RefundRefused(Exception):
    """Stripe will not carry this refund out, now or later: nothing is left, or the charge is disputed."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class RefundFacts(msgspec.Struct, frozen=True):
    """A refund; `our_id` where it was ordered here. Amounts are minor units."""

    id: str
    amount: int
    currency: str
    status: str
    reason: str | None
    created: datetime
    failure: str | None
    our_id: UUID | None


class DisputeFacts(msgspec.Struct, frozen=True):
    id: str
    amount: int
    currency: str
    reason: str
    status: str
    created: datetime
    due_by: datetime | None
    has_evidence: bool
    submissions: int


class ChargeFacts(msgspec.Struct, frozen=True):
    """A charge with everything that takes its money back, the oldest first."""

    id: str
    customer_id: str | None
    intent_id: str | None
    invoice_id: str | None
    refunds: tuple[RefundFacts, ...]
    disputes: tuple[DisputeFacts, ...]


class Whereabouts(NamedTuple):
    """The charge that an object belongs to, and that charge's customer."""

    charge_id: str
    customer_id: str


class StripeMoneyBack:
    def __init__(self, v1: V1Services) -> None:
        self._v1 = v1

    async def whereabouts(self, kind: str, object_id: str) -> Whereabouts | None:
        """Of a charge, a refund or a dispute. None where Stripe has none, or where no customer is named."""
        with suppress(NotFound):
            async with stripe_errors_mapped():
                charge = await self._charge_behind(kind, object_id)
            if charge is not None and charge.customer is not None:
                return Whereabouts(charge.id, _id(charge.customer))
        return None

    async def _charge_behind(self, kind: str, object_id: str) -> stripe.Charge | None:
        match kind:
            case "refund":
                reference = (await self._v1.refunds.retrieve_async(object_id)).charge
            case "dispute":
                reference = (await self._v1.disputes.retrieve_async(object_id)).charge
            case _:
                reference = object_id
        return None if reference is None else await self._v1.charges.retrieve_async(_id(reference))

    async def charge(self, charge_id: str) -> ChargeFacts | None:
        with suppress(NotFound):
            async with stripe_errors_mapped():
                found = await self._v1.charges.retrieve_async(charge_id)
                refunds = await self._v1.refunds.list_async({"charge": charge_id, "limit": _A_PAGE})
                disputes = await self._v1.disputes.list_async({"charge": charge_id, "limit": _A_PAGE})
                intent_id = None if found.payment_intent is None else _id(found.payment_intent)
                return ChargeFacts(
                    id=found.id,
                    customer_id=None if found.customer is None else _id(found.customer),
                    intent_id=intent_id,
                    invoice_id=await self._invoice_of(intent_id),
                    refunds=tuple([_refund(one) async for one in refunds.auto_paging_iter()][::-1]),
                    disputes=tuple([_dispute(one) async for one in disputes.auto_paging_iter()][::-1]),
                )
        return None

    async def _invoice_of(self, intent_id: str | None) -> str | None:
        if intent_id is None:
            return None
        found = await self._v1.invoice_payments.list_async(
            {"payment": {"type": "payment_intent", "payment_intent": intent_id}, "limit": 1}
        )
        return _id(found.data[0].invoice) if found.data else None

    async def find_refund(self, intent_id: str, our_id: UUID) -> RefundFacts | None:
        """The refund that was ordered here under this id, however long ago. A list, because search lags behind."""
        async with stripe_errors_mapped():
            found = await self._v1.refunds.list_async({"payment_intent": intent_id, "limit": _A_PAGE})
            async for one in found.auto_paging_iter():
                if (facts := _refund(one)).our_id == our_id:
                    return facts
        return None

    async def refund(
        self, our_id: UUID, *, intent_id: str, amount: int, reason: str | None, generation: int
    ) -> RefundFacts:
        """Carried out once for an id and a generation; a key of Stripe's lives for 24 hours. RefundRefused."""
        params: Any = {"payment_intent": intent_id, "amount": amount, "metadata": {REFUND_ID: str(our_id)}}
        if reason is not None:
            params["reason"] = reason
        async with stripe_errors_mapped("Stripe does not answer; the refund is asked for again"):
            try:
                made = await self._v1.refunds.create_async(params, {"idempotency_key": f"refund-{our_id}-{generation}"})
            except stripe.InvalidRequestError as failure:
                raise RefundRefused(failure.code or "refused") from failure
        return _refund(made)

    async def submit_evidence(self, dispute_id: str, evidence: Mapping[str, str], *, submit: bool, key: str) -> None:
        """`submit`: it goes to the bank, once; otherwise Stripe keeps it for later."""
        params: Any = {"evidence": dict(evidence), "submit": submit}
        async with stripe_errors_mapped(_UNKNOWN):
            await self._v1.disputes.update_async(dispute_id, params, {"idempotency_key": key})

    async def accept_loss(self, dispute_id: str, *, key: str) -> None:
        async with stripe_errors_mapped(_UNKNOWN):
            await self._v1.disputes.close_async(dispute_id, {}, {"idempotency_key": key})


def _refund(refund: stripe.Refund) -> RefundFacts:
    metadata = refund.metadata.to_dict() if refund.metadata else {}
    return RefundFacts(
        id=refund.id,
        amount=refund.amount,
        currency=refund.currency,
        status=refund.status or "pending",
        reason=refund.reason,
        created=_instant(refund.created),
        failure=getattr(refund, "failure_reason", None),
        our_id=_uuid(metadata.get(REFUND_ID)),
    )


def _dispute(dispute: stripe.Dispute) -> DisputeFacts:
    details = dispute.evidence_details
    return DisputeFacts(
        id=dispute.id,
        amount=dispute.amount,
        currency=dispute.currency,
        reason=dispute.reason,
        status=dispute.status,
        created=_instant(dispute.created),
        due_by=None if details.due_by is None else _instant(details.due_by),
        has_evidence=details.has_evidence,
        submissions=details.submission_count,
    )


def _uuid(text: str | None) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError:
        return None  # another program's metadata under our name


def _id(reference: Any) -> str:
    return reference if isinstance(reference, str) else str(reference.id)


def _instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
