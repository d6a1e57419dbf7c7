"""Payment routes: a customer's payments."""

from uuid import UUID

from litestar import Controller, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from billing_api.access.permissions import Permission, Principal
from billing_api.commerce.payments.schemas import PaymentView
from billing_api.commerce.payments.service import PaymentService
from db.paging import Page, Paging


class PaymentController(Controller):
    path = "/payments"
    tags = ("payments",)

    @get("/", permission=Permission.OWN_PAYMENTS_READ)
    async def list_payments(
        self,
        principal: NamedDependency[Principal],
        payments: NamedDependency[PaymentService],
        paging: NamedDependency[Paging],
    ) -> Page[PaymentView]:
        """List my payments.

        The newest first; failed attempts too.
        """
        return await payments.payments(principal, paging)

    @get("/{payment_id:uuid}", permission=Permission.OWN_PAYMENTS_READ)
    async def get_payment(
        self,
        principal: NamedDependency[Principal],
        payments: NamedDependency[PaymentService],
        payment_id: FromPath[UUID],
    ) -> PaymentView:
        """Read one of my payments.

        A payment or an attempt, as Stripe has it.
        """
        return await payments.payment(principal, payment_id)
