"""Payment use cases: a customer reads payments, and staff read all payments."""

from uuid import UUID

from billing_api.access.permissions import Principal
from billing_api.commerce.disputes.schemas import DisputeView
from billing_api.commerce.payments import repository
from billing_api.commerce.payments.admin_schemas import AdminPaymentDetails, AdminPaymentView
from billing_api.commerce.payments.repository import PaymentFilter
from billing_api.commerce.payments.schemas import PaymentView
from billing_api.commerce.refunds.schemas import RefundView
from core.errors import NotFound
from db.paging import Page, Paging, fetch_page
from db.reads import CustomerReads
from db.unit_of_work import Database


class PaymentService:
    def __init__(self, reads: CustomerReads) -> None:
        self._reads = reads

    async def payments(self, principal: Principal, paging: Paging) -> Page[PaymentView]:
        found = await repository.PAYMENTS.page(self._reads, principal.user_id, paging)
        return found.page(map(PaymentView.of, found.rows))

    async def payment(self, principal: Principal, payment_id: UUID) -> PaymentView:
        rows = await self._reads.rows(principal.user_id, repository.PAYMENT, {"payment_id": payment_id})
        if not rows:
            raise NotFound("there is no such payment; check its id")
        return PaymentView.of(rows[0])


class PaymentAdministration:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, principal: Principal, paging: Paging, wanted: PaymentFilter) -> Page[AdminPaymentView]:
        async with self._database.as_staff(principal.user_id) as tx:
            statement = repository.for_staff(wanted)
            found = await fetch_page(tx.session, statement, repository.NEWEST_PAYMENTS, paging)
        return found.page(map(AdminPaymentView.of_row, found.rows))

    async def one(self, principal: Principal, payment_id: UUID) -> AdminPaymentDetails:
        async with self._database.as_staff(principal.user_id) as tx:
            shown = AdminPaymentView.of_row(await repository.one_for_staff(tx, payment_id))
            refunds = await repository.refunds_of(tx, payment_id)
            disputes = await repository.disputes_of(tx, payment_id)
        return AdminPaymentDetails(
            **{name: getattr(shown, name) for name in AdminPaymentView.__struct_fields__},
            refund_details=[RefundView.of(row) for row in refunds],
            disputes=[DisputeView.of(row, shown.email) for row in disputes],
        )
