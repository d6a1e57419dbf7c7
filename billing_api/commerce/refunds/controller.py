"""Refund route, for administrators."""

from uuid import UUID

from litestar import Controller, Response, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from billing_api.access.permissions import Permission, Principal
from billing_api.commerce.refunds.schemas import RefundGiven, RefundView
from billing_api.commerce.refunds.service import RefundService
from billing_api.web.parameters import reply
from billing_api.web.problems import documented
from core.errors import Conflict, PaymentDisputed, Unprocessable
from db.idempotency import Once


class AdminRefundController(Controller):
    path = "/admin/payments/{payment_id:uuid}/refund"
    tags = ("admin",)

    @post(
        "/",
        permission=Permission.BILLING_CHANGE,
        step_up=True,
        responses={409: documented(PaymentDisputed, Conflict), 422: documented(Unprocessable)},
    )
    async def refund_payment(
        self,
        principal: NamedDependency[Principal],
        refunds: NamedDependency[RefundService],
        once: NamedDependency[Once],
        payment_id: FromPath[UUID],
        data: JSONBody[RefundGiven],
    ) -> Response[RefundView]:
        """Refund a payment, or a part of it.

        Never more than is left. It is `pending` until Stripe and the bank have carried it out; what becomes of the
        license follows then. A payment whose dispute is open cannot be refunded.
        """
        return reply(await refunds.order(principal, payment_id, data, once), status_code=201)
