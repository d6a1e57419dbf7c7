"""Payment use cases: a customer reads invoices and payments."""

from uuid import UUID

from billing_api.access.permissions import Principal
from billing_api.commerce.payments import repository
from billing_api.commerce.payments.schemas import InvoiceView, PaymentView
from core.errors import NotFound
from db.paging import Page, Paging
from db.reads import CustomerReads


class PaymentService:
    def __init__(self, reads: CustomerReads) -> None:
        self._reads = reads

    async def invoices(self, principal: Principal, paging: Paging) -> Page[InvoiceView]:
        found = await repository.INVOICES.page(self._reads, principal.user_id, paging)
        return found.page(map(InvoiceView.of, found.rows))

    async def invoice(self, principal: Principal, invoice_id: UUID) -> InvoiceView:
        rows = await self._reads.rows(principal.user_id, repository.INVOICE, {"invoice_id": invoice_id})
        if not rows:
            raise NotFound("there is no such invoice; check its id")
        return InvoiceView.of(rows[0])

    async def payments(self, principal: Principal, paging: Paging) -> Page[PaymentView]:
        found = await repository.PAYMENTS.page(self._reads, principal.user_id, paging)
        return found.page(map(PaymentView.of, found.rows))

    async def payment(self, principal: Principal, payment_id: UUID) -> PaymentView:
        rows = await self._reads.rows(principal.user_id, repository.PAYMENT, {"payment_id": payment_id})
        if not rows:
            raise NotFound("there is no such payment; check its id")
        return PaymentView.of(rows[0])
