"""Dispute routes, for staff."""

from typing import Annotated
from uuid import UUID

from litestar import Controller, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from billing_api.access.permissions import Permission, Principal
from billing_api.commerce.disputes.schemas import DisputeView, EvidenceGiven
from billing_api.commerce.disputes.service import DisputeAdministration
from billing_api.web.parameters import reply
from billing_api.web.problems import documented
from core.errors import Unprocessable
from db.idempotency import Once
from db.paging import Page, Paging


class AdminDisputeController(Controller):
    path = "/admin/disputes"
    tags = ("admin",)

    @get("/", permission=Permission.BILLING_VIEW)
    async def list_disputes(
        self,
        principal: NamedDependency[Principal],
        disputes: NamedDependency[DisputeAdministration],
        paging: NamedDependency[Paging],
        status: Annotated[
            str | None, QueryParameter(max_length=64, description="Disputes of this status, in Stripe's word.")
        ] = None,
        open_: Annotated[
            bool | None,
            QueryParameter(name="open", description="Disputes that wait for us or for the bank, or all others."),
        ] = None,
    ) -> Page[DisputeView]:
        """List disputes.

        Inquiries and prevented ones among them. The newest first.
        """
        return await disputes.page(principal, paging, status=status, is_open=open_)

    @post(
        "/{dispute_id:uuid}/evidence",
        permission=Permission.BILLING_CHANGE,
        status_code=200,
        responses={422: documented(Unprocessable)},
    )
    async def submit_dispute_evidence(
        self,
        principal: NamedDependency[Principal],
        disputes: NamedDependency[DisputeAdministration],
        once: NamedDependency[Once],
        dispute_id: FromPath[UUID],
        data: JSONBody[EvidenceGiven],
    ) -> Response[DisputeView]:
        """Answer a dispute with evidence.

        It goes to the bank once: `submit: false` has Stripe keep it until you are ready.
        """
        return reply(await disputes.submit_evidence(principal, dispute_id, data, once), status_code=200)

    @post("/{dispute_id:uuid}/close", permission=Permission.BILLING_CHANGE, status_code=200)
    async def accept_dispute(
        self,
        principal: NamedDependency[Principal],
        disputes: NamedDependency[DisputeAdministration],
        once: NamedDependency[Once],
        dispute_id: FromPath[UUID],
    ) -> Response[DisputeView]:
        """Accept the loss of a dispute.

        It cannot be taken back: the payment is refunded, and its license and subscription end.
        """
        return reply(await disputes.accept_loss(principal, dispute_id, once), status_code=200)
