"""Invoice use cases: a customer reads invoices, their PDF, and the balance."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from billing_api.access.permissions import Principal
from billing_api.commerce.invoices import repository
from billing_api.commerce.invoices.schemas import BalanceEntry, BalanceView, InvoiceView
from billing_api.commerce.stripe_customers.service import StripeCustomers
from billing_api.gateways.stripe.documents import BalanceFacts, StripeDocuments
from core.errors import NotFound
from core.money import Money
from db.paging import Page, Paging
from db.reads import CustomerReads

_NO_INVOICE = "there is no such invoice; check its id"


class InvoiceService:
    def __init__(self, reads: CustomerReads, customers: StripeCustomers, documents: StripeDocuments) -> None:
        self._reads = reads
        self._customers = customers
        self._documents = documents

    async def page(self, principal: Principal, paging: Paging, filters: Mapping[str, Any]) -> Page[InvoiceView]:
        """`filters`: by their names in `repository.INVOICES`."""
        found = await repository.INVOICES.page(self._reads, principal.user_id, paging, filters=filters)
        return found.page(map(InvoiceView.of, found.rows))

    async def one(self, principal: Principal, invoice_id: UUID) -> InvoiceView:
        rows = await self._reads.rows(principal.user_id, repository.INVOICE, {"invoice_id": invoice_id})
        if not rows:
            raise NotFound(_NO_INVOICE)
        return InvoiceView.of(rows[0])

    async def pdf(self, principal: Principal, invoice_id: UUID) -> tuple[str, bytes]:
        """A name for the file, and its bytes as Stripe has them. NotFound where Stripe has no PDF of it."""
        invoice = await self.one(principal, invoice_id)
        if invoice.invoice_pdf_url is None:
            raise NotFound("Stripe has no PDF of this invoice; try again in a minute")
        return f"{invoice.number or invoice.id}.pdf", await self._documents.pdf(invoice.invoice_pdf_url)

    async def balance(self, principal: Principal) -> BalanceView:
        """Stripe keeps it; we have no copy."""
        customer_id = await self._customers.known(principal)
        found = None if customer_id is None else await self._documents.balance(customer_id)
        return BalanceView(None, []) if found is None else balance_view(found)


def balance_view(found: BalanceFacts) -> BalanceView:
    entries = [
        BalanceEntry(
            one.at, Money(one.amount, one.currency), Money(one.balance, one.currency), one.kind, one.description
        )
        for one in found.entries
    ]
    return BalanceView(Money(found.balance, found.currency), entries)
