"""Payment use cases: a customer reads invoices and payments."""

from uuid import UUID

from billing_api.access.permissions import Principal
from billing_api.commerce.payments import repository
from billing_api.commerce.payments.schemas import InvoiceView, PaymentView
from db.paging import Page, Paging
from db.reads import CustomerReads
from db.unit_of_work import Database


class PaymentService:
    def __init__(self, database: Database, reads: CustomerReads) -> None:
        self._database = database
        self._reads = reads

    async def invoices(self, principal: Principal, paging: Paging) -> Page[InvoiceView]:
        found = await repository.INVOICES.page(self._reads, principal.user_id, paging)
        return found.page(map(InvoiceView.of, found.rows))

    async def invoice(self, principal: Principal, invoice_id: UUID) -> InvoiceView:
        async with self._database.as_customer(principal.user_id) as tx:
            return InvoiceView.of(await repository.invoice(tx, invoice_id))

    async def payments(self, principal: Principal, paging: Paging) -> Page[PaymentView]:
        found = await repository.PAYMENTS.page(self._reads, principal.user_id, paging)
        return found.page(map(PaymentView.of, found.rows))

    async def payment(self, principal: Principal, payment_id: UUID) -> PaymentView:
        async with self._database.as_customer(principal.user_id) as tx:
            return PaymentView.of(await repository.payment(tx, payment_id))
