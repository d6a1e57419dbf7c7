"""Payment use cases: a customer reads invoices and payments."""

from uuid import UUID

from billing_api.access.permissions import Principal
from billing_api.commerce.payments import repository
from billing_api.commerce.payments.schemas import InvoiceView, PaymentView
from db.paging import Page, fetch_page
from db.unit_of_work import Database


class PaymentService:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def invoices(self, principal: Principal, *, limit: int, offset: int) -> Page[InvoiceView]:
        async with self._database.as_customer(principal.user_id) as tx:
            rows, total = await fetch_page(tx.session, repository.invoices(), limit=limit, offset=offset)
        return Page([InvoiceView.of(row[0]) for row in rows], total, limit, offset)

    async def invoice(self, principal: Principal, invoice_id: UUID) -> InvoiceView:
        async with self._database.as_customer(principal.user_id) as tx:
            return InvoiceView.of(await repository.invoice(tx, invoice_id))

    async def payments(self, principal: Principal, *, limit: int, offset: int) -> Page[PaymentView]:
        async with self._database.as_customer(principal.user_id) as tx:
            rows, total = await fetch_page(tx.session, repository.payments(), limit=limit, offset=offset)
        return Page([PaymentView.of(row[0]) for row in rows], total, limit, offset)

    async def payment(self, principal: Principal, payment_id: UUID) -> PaymentView:
        async with self._database.as_customer(principal.user_id) as tx:
            return PaymentView.of(await repository.payment(tx, payment_id))
