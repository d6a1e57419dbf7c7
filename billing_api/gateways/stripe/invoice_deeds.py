"""Invoice deeds: what staff do to invoices and balances at Stripe: void, give up, try again, credit.

A call that gives money away carries our key in the object's metadata. The object is looked for before another is made:
Stripe forgets its own idempotency keys after a day, and a request may be repeated for a week.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal

import stripe
from stripe import ListObject
from stripe._v1_services import V1Services

from billing_api.gateways.stripe.client import stripe_errors_mapped
from core.errors import Conflict, Unprocessable

KEY: Final = "np_key"
"""The metadata field that carries our key."""
CreditTo = Literal["refund", "credit", "out_of_band"]
_A_PAGE: Final = 100
_UNANSWERED: Final = (
    "Stripe does not answer, so it may have been done or not. Send the same request with the same Idempotency-Key again"
)


class StripeInvoiceDeeds:
    def __init__(self, v1: V1Services) -> None:
        self._v1 = v1

    async def void(self, invoice_id: str) -> None:
        """Conflict where it is neither open nor given up. One that is void stays so."""
        async with stripe_errors_mapped(_UNANSWERED):
            status = (await self._v1.invoices.retrieve_async(invoice_id)).status
            if status == "void":
                return
            if status not in {"open", "uncollectible"}:
                raise Conflict(
                    f"an invoice that is {status} cannot be voided; one that is paid is credited or refunded"
                )
            await self._v1.invoices.void_invoice_async(invoice_id)

    async def give_up(self, invoice_id: str) -> None:
        """Conflict where it is not open."""
        async with stripe_errors_mapped(_UNANSWERED):
            status = (await self._v1.invoices.retrieve_async(invoice_id)).status
            if status == "uncollectible":
                return
            if status != "open":
                raise Conflict(f"an invoice that is {status} cannot be given up; only an open one can")
            await self._v1.invoices.mark_uncollectible_async(invoice_id)

    async def credit(
        self, key: str, invoice_id: str, amounts: Mapping[str, Any], *, to: CreditTo | None, reason: str | None
    ) -> None:
        """One credit note for each key. `amounts`: Stripe's parameters, `amount` or `lines`.

        `to`: where a paid invoice's money goes; None for an open one, of which less is to be paid. Conflict where the
        invoice does not fit; Unprocessable, with Stripe's words, where it refuses the amount: more than is left.
        """
        async with stripe_errors_mapped(_UNANSWERED):
            if await _was_made(await self._v1.credit_notes.list_async({"invoice": invoice_id, "limit": _A_PAGE}), key):
                return
            invoice = await self._v1.invoices.retrieve_async(invoice_id)
            status = invoice.status
            if status not in {"open", "paid"}:
                raise Conflict(f"an invoice that is {status} cannot be credited")
            if (status == "paid") is (to is None):
                raise Conflict(
                    "the invoice is paid: say in `to` where its money goes"
                    if to is None
                    else "the invoice is open, so less is to be paid: leave out `to`"
                )
            wanted: Any = {"invoice": invoice_id, "metadata": {KEY: key}, **amounts}
            if reason is not None:
                wanted["reason"] = reason
            if to is not None:
                wanted[f"{to}_amount"] = _total(invoice, amounts)
            try:
                await self._v1.credit_notes.create_async(wanted, {"idempotency_key": f"credit-note-{key}"})
            except stripe.InvalidRequestError as refusal:
                said = (refusal.user_message or "it does not fit this invoice").rstrip(".")
                raise Unprocessable(f"Stripe refused the credit note: {said}. Nothing was credited") from refusal

    async def add_balance(self, key: str, customer_id: str, amount: int, currency: str, description: str) -> None:
        """`amount`: positive is credit. One entry for each key."""
        async with stripe_errors_mapped(_UNANSWERED):
            known = await self._v1.customers.balance_transactions.list_async(customer_id, {"limit": _A_PAGE})
            if await _was_made(known, key):
                return
            await self._v1.customers.balance_transactions.create_async(
                customer_id,
                {"amount": -amount, "currency": currency, "description": description, "metadata": {KEY: key}},
                {"idempotency_key": f"balance-{key}"},
            )


def _total(invoice: stripe.Invoice, amounts: Mapping[str, Any]) -> int:
    """What the credit note comes to: where lines are credited, with their shares of the discounts and taxes."""
    if "amount" in amounts:
        return int(amounts["amount"])
    lines = {line.id: line for line in invoice.lines.data}
    total = 0
    for one in amounts["lines"]:
        line, net = lines[one["invoice_line_item"]], one["amount"]
        taxes = sum(tax.amount for tax in line.taxes or () if tax.tax_behavior == "exclusive")
        off = sum(discount.amount for discount in line.discount_amounts or ())
        total += net + (_share(taxes, net, line.amount) - _share(off, net, line.amount) if line.amount else 0)
    return total


def _share(amount: int, part: int, whole: int) -> int:
    """To the nearest minor unit."""
    return (2 * amount * part + whole) // (2 * whole)


async def _was_made(listed: ListObject[Any], key: str) -> bool:
    """Whether an object of the list, however long, carries our key."""
    async for made in listed.auto_paging_iter():
        if made.metadata and made.metadata.to_dict().get(KEY) == key:
            return True
    return False
