"""Payment use cases: a customer reads invoices and payments."""

from uuid import UUID

from billing_api.access.permissions import Principal
from billing_api.commerce.payments import repository
from billing_api.commerce.payments.schemas import InvoiceView, PaymentView
from db.paging import Page, Paging, fetch_page
from db.unit_of_work import Database


class PaymentService:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def invoices(self, principal: Principal, paging: Paging) -> Page[InvoiceView]:
        async with self._database.as_customer(principal.user_id) as tx:
            found = await fetch_page(tx.session, repository.invoices(), repository.NEWEST_INVOICES, paging)
        return found.page(InvoiceView.of(row[0]) for row in found.rows)

    async def invoice(self, principal: Principal, invoice_id: UUID) -> InvoiceView:
        async with self._database.as_customer(principal.user_id) as tx:
            return InvoiceView.of(await repository.invoice(tx, invoice_id))

    async def payments(self, principal: Principal, paging: Paging) -> Page[PaymentView]:
        async with self._database.as_customer(principal.user_id) as tx:
            found = await fetch_page(tx.session, repository.payments(), repository.NEWEST_PAYMENTS, paging)
        return found.page(PaymentView.of(row[0]) for row in found.rows)

    async def payment(self, principal: Principal, payment_id: UUID) -> PaymentView:
        async with self._database.as_customer(principal.user_id) as tx:
            return PaymentView.of(await repository.payment(tx, payment_id))
