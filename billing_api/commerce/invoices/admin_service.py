"""Invoice use cases of staff: search, void, give up, try again, credit; and entries of a customer's balance.

Each deed is claimed under the request's key, carried out at Stripe, where it is found when it was done before, and then
mirrored. The audit trail has it with its reason before Stripe is asked.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import UUID

from billing_api.access.permissions import Principal
from billing_api.commerce.invoices import repository
from billing_api.commerce.invoices.admin_schemas import AdminInvoiceView, BalanceGiven, CreditNoteGiven
from billing_api.commerce.invoices.repository import InvoiceFilter
from billing_api.commerce.invoices.schemas import BalanceView
from billing_api.commerce.invoices.service import balance_view
from billing_api.commerce.stripe_mirror.service import Mirror, StripeObject
from billing_api.gateways.stripe.documents import StripeDocuments
from billing_api.gateways.stripe.invoice_deeds import StripeInvoiceDeeds
from billing_api.gateways.stripe.payment_methods import StripeWallets
from core.counted import counted
from core.errors import Conflict, FieldError, NotFound, PaymentDeclined, PaymentDisputed, Refusal, Unprocessable
from core.ids import new_id
from db.idempotency import Once, Replayable
from db.paging import Page, Paging, fetch_page
from db.unit_of_work import Database

_Deed = Callable[[str, str], Awaitable[None]]
"""Gets the invoice's id at Stripe, and the key of the request."""


class InvoiceAdministration:
    def __init__(
        self,
        database: Database,
        deeds: StripeInvoiceDeeds,
        wallets: StripeWallets,
        documents: StripeDocuments,
        mirror: Mirror,
    ) -> None:
        self._database = database
        self._deeds = deeds
        self._wallets = wallets
        self._documents = documents
        self._mirror = mirror

    async def page(self, principal: Principal, paging: Paging, wanted: InvoiceFilter) -> Page[AdminInvoiceView]:
        async with self._database.as_staff(principal.user_id) as tx:
            statement = repository.for_staff(wanted)
            found = await fetch_page(tx.session, statement, repository.NEWEST_INVOICES, paging)
        return found.page(map(AdminInvoiceView.of_row, found.rows))

    async def one(self, principal: Principal, invoice_id: UUID) -> AdminInvoiceView:
        async with self._database.as_staff(principal.user_id) as tx:
            return AdminInvoiceView.of_row(await repository.one_for_staff(tx, invoice_id))

    async def void(
        self, principal: Principal, invoice_id: UUID, reason: str, once: Once
    ) -> Replayable[AdminInvoiceView]:
        async def deed(stripe_id: str, _: str) -> None:
            await self._deeds.void(stripe_id)

        return await self._carry_out(principal, invoice_id, once, "invoice.voided", {"reason": reason}, deed)

    async def give_up(
        self, principal: Principal, invoice_id: UUID, reason: str, once: Once
    ) -> Replayable[AdminInvoiceView]:
        async def deed(stripe_id: str, _: str) -> None:
            await self._deeds.give_up(stripe_id)

        return await self._carry_out(principal, invoice_id, once, "invoice.given_up", {"reason": reason}, deed)

    async def retry(
        self, principal: Principal, invoice_id: UUID, reason: str, once: Once
    ) -> Replayable[AdminInvoiceView]:
        """Tries to collect it. PaymentDeclined where the card is; Conflict where the invoice is not open."""

        async def deed(stripe_id: str, _: str) -> None:
            async with self._database.as_system(principal.user_id) as tx:
                if await repository.has_ended(tx, invoice_id):
                    raise Conflict("its subscription has ended, so it is not charged any more: void the invoice")
            tried = await self._wallets.collect(stripe_id)
            if tried.error is not None:
                raise PaymentDeclined(f"{tried.error.rstrip('.')}. Nothing was charged")
            if not tried.paid and tried.page_url is None:
                raise Conflict("this invoice is not open: read it again")

        return await self._carry_out(principal, invoice_id, once, "invoice.retried", {"reason": reason}, deed)

    async def credit(
        self, principal: Principal, invoice_id: UUID, given: CreditNoteGiven, once: Once
    ) -> Replayable[AdminInvoiceView]:
        if (given.amount is None) is (given.lines is None):
            fault = FieldError("amount", "needs either amount or lines, and not both")
            raise Unprocessable("say either amount or lines, and not both", errors=(fault,))

        async def deed(stripe_id: str, key: str) -> None:
            async with self._database.as_system(principal.user_id) as tx:
                if given.to == "refund" and await repository.is_disputed(tx, invoice_id):
                    raise PaymentDisputed(
                        "the bank has taken this payment back, and decides about it: answer it under admin/disputes"
                    )
            amounts = await self._amounts(stripe_id, given)
            await self._deeds.credit(key, stripe_id, amounts, to=given.to, reason="order_change")

        told = {"reason": given.reason, "amount": given.amount, "to": given.to}
        return await self._carry_out(principal, invoice_id, once, "invoice.credited", told, deed)

    async def _amounts(self, stripe_id: str, given: CreditNoteGiven) -> Mapping[str, Any]:
        """Stripe's parameters: its lines have ids of their own."""
        if given.lines is None:
            return {"amount": given.amount}
        ids = await self._documents.line_ids(stripe_id)
        for place, one in enumerate(given.lines):
            if one.line > len(ids):
                fault = FieldError(f"lines[{place}].line", f"the invoice has {counted(len(ids), 'line')}")
                raise Unprocessable("there is no such line on this invoice", errors=(fault,))
        lines = [
            {"type": "invoice_line_item", "invoice_line_item": ids[one.line - 1], "amount": one.amount}
            for one in given.lines
        ]
        return {"lines": lines}

    async def _carry_out(
        self, principal: Principal, invoice_id: UUID, once: Once, action: str, told: Mapping[str, Any], deed: _Deed
    ) -> Replayable[AdminInvoiceView]:
        # 1. Claim the key.
        async with self._database.as_system(principal.user_id) as tx:
            if stored := await once.claim(tx, AdminInvoiceView):
                return stored
            invoice = await repository.one_for_staff(tx, invoice_id)
            await tx.audit(action, "invoice", invoice_id, **told)
        # 2. Stripe is asked, and then mirrored. A refusal gives the key back.
        try:
            await deed(invoice.stripe_invoice_id, _key(principal, invoice_id, once))
        except Refusal:
            async with self._database.as_system(principal.user_id) as tx:
                await once.give_back(tx)
            raise
        await self._mirror.mirror(StripeObject("invoice", invoice.stripe_invoice_id, invoice.customer_id))
        async with self._database.as_system(principal.user_id) as tx:
            shown = AdminInvoiceView.of_row(await repository.one_for_staff(tx, invoice_id))
            return await once.record(tx, shown)

    async def add_balance(
        self, principal: Principal, user_id: UUID, given: BalanceGiven, once: Once
    ) -> Replayable[BalanceView]:
        if given.amount == 0:
            raise Unprocessable("amount must not be 0", errors=(FieldError("amount", "must not be 0"),))
        async with self._database.as_system(principal.user_id) as tx:
            if stored := await once.claim(tx, BalanceView):
                return stored
            customer_id = await repository.customer_of(tx, user_id)
            told = {"amount": given.amount, "description": given.description, "reason": given.reason}
            await tx.audit("balance.changed", "user", user_id, **told)
        try:
            view = await self._change_balance(customer_id, given, _key(principal, user_id, once))
        except Refusal:
            async with self._database.as_system(principal.user_id) as tx:
                await once.give_back(tx)
            raise
        async with self._database.as_system(principal.user_id) as tx:
            return await once.record(tx, view)

    async def _change_balance(self, customer_id: str | None, given: BalanceGiven, key: str) -> BalanceView:
        if customer_id is None:
            raise Conflict("this customer has bought nothing yet, so Stripe keeps no balance")
        known = await self._documents.balance(customer_id)
        currency = given.currency or (known.currency if known else None)
        if currency is None or (known is not None and known.currency != currency):
            has = (
                f"the customer's currency is {known.currency}"
                if known
                else "the customer has no currency yet: name one"
            )
            raise Unprocessable(has, errors=(FieldError("currency", has),))
        await self._deeds.add_balance(key, customer_id, given.amount, currency, given.description)
        changed = await self._documents.balance(customer_id)
        if changed is None:
            raise NotFound("Stripe has no such customer any more")
        return balance_view(changed)


def _key(principal: Principal, of: UUID, once: Once) -> str:
    """The same for one request that is repeated; a colleague's key of the same name is another one."""
    return f"{of}-{principal.user_id}-{once.key}" if once.key else str(new_id())
