"""Dispute use cases: staff list disputes, and administrators answer them at Stripe.

An answer is given to Stripe in the request, under a key of the client's Idempotency-Key, and then the dispute is
mirrored as its webhook would do it. Evidence goes to the bank once, and an accepted loss is final.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final
from uuid import UUID

from billing_api.access.permissions import Principal
from billing_api.commerce.disputes import repository
from billing_api.commerce.disputes.schemas import DisputeView, EvidenceGiven
from billing_api.commerce.stripe_mirror.money_back_repository import OPEN_DISPUTE
from billing_api.commerce.stripe_mirror.service import Mirror, StripeObject
from billing_api.gateways.stripe.client import Stripe
from billing_api.gateways.stripe.money_back import StripeMoneyBack
from core.errors import Conflict, FieldError, Refusal, Unprocessable
from core.ids import new_id
from db.idempotency import Once, Replayable
from db.models.money_back import Dispute
from db.paging import Page, Paging, fetch_page
from db.unit_of_work import Database

_NEEDS_RESPONSE: Final = ("needs_response", "warning_needs_response", "appeal_needs_response")


class DisputeAdministration:
    def __init__(self, database: Database, stripe: Stripe, mirror: Mirror) -> None:
        self._database = database
        self._stripe = StripeMoneyBack(stripe.v1)
        self._mirror = mirror

    async def page(
        self, principal: Principal, paging: Paging, *, status: str | None, is_open: bool | None
    ) -> Page[DisputeView]:
        statement = repository.search(status=status, is_open=is_open)
        async with self._database.as_staff(principal.user_id) as tx:
            found = await fetch_page(tx.session, statement, repository.NEWEST_FIRST, paging)
        return found.page(DisputeView.of(row[0], row[1]) for row in found.rows)

    async def submit_evidence(
        self, principal: Principal, dispute_id: UUID, given: EvidenceGiven, once: Once
    ) -> Replayable[DisputeView]:
        if not given.texts:
            missing = FieldError("body", "needs one text of evidence")
            raise Unprocessable("the body has no evidence; send at least one text", errors=(missing,))

        async def submit(stripe_id: str, key: str) -> None:
            await self._stripe.submit_evidence(stripe_id, given.texts, submit=given.submit, key=f"evidence-{key}")

        told = "dispute.evidence_submitted" if given.submit else "dispute.evidence_kept"
        return await self._answer(principal, dispute_id, once, submit, told, _NEEDS_RESPONSE)

    async def accept_loss(self, principal: Principal, dispute_id: UUID, once: Once) -> Replayable[DisputeView]:
        async def close(stripe_id: str, key: str) -> None:
            await self._stripe.accept_loss(stripe_id, key=f"close-{key}")

        return await self._answer(principal, dispute_id, once, close, "dispute.loss_accepted", OPEN_DISPUTE)

    async def _answer(
        self,
        principal: Principal,
        dispute_id: UUID,
        once: Once,
        call: Callable[[str, str], Awaitable[None]],
        told: str,
        answered: Sequence[str],
    ) -> Replayable[DisputeView]:
        # 1. Claim the key; only a dispute that waits for an answer takes one.
        async with self._database.as_system(principal.user_id) as tx:
            if stored := await once.claim(tx, DisputeView):
                return stored
            dispute, _ = await repository.one(tx, dispute_id)
            _require_one_of(dispute, answered)
            await tx.audit(told, "payment", dispute.payment_id, dispute=str(dispute_id))
        # 2. Stripe is asked, and then mirrored. A refusal gives the key back.
        try:
            await call(dispute.stripe_dispute_id, f"{dispute_id}-{once.key or new_id()}")
            await self._mirror.mirror(StripeObject("dispute", dispute.stripe_dispute_id, None))
        except Refusal:
            async with self._database.as_system(principal.user_id) as tx:
                await once.give_back(tx)
            raise
        async with self._database.as_system(principal.user_id) as tx:
            return await once.record(tx, DisputeView.of(*await repository.one(tx, dispute_id)))


def _require_one_of(dispute: Dispute, answered: Sequence[str]) -> None:
    if dispute.status not in answered:
        raise Conflict(f"a dispute that is {dispute.status} does not take this answer")
