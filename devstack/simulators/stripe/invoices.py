"""Invoices: draft → open → paid, or void, or uncollectible. What they are made of is in `lines`."""

from collections.abc import Sequence
from typing import Final

from devstack.simulators.journal import Where
from devstack.simulators.stripe import customer_balance, discounts, payments, tax, tax_ids
from devstack.simulators.stripe.account import collection_settings
from devstack.simulators.stripe.amounts import too_small
from devstack.simulators.stripe.books import Books, Document, a_list, new_id, nulls
from devstack.simulators.stripe.errors import wrong_state
from devstack.simulators.stripe.lines import total

_DAY: Final = 24 * 3600
DRAFT_FOR: Final = 3600


def draft(
    books: Books,
    customer: Document,
    lines: Sequence[Document],
    *,
    currency: str,
    reason: str,
    subscription: Document | None = None,
    discount_ids: Sequence[str] = (),
    automatic_tax: bool = False,
    **members: object,
) -> Document:
    """A new invoice, written and told. Its amounts follow from its lines and discounts."""
    invoice_id, now = new_id("in"), books.now()
    taxed = subscription["automatic_tax"]["enabled"] if subscription else automatic_tax
    settings = subscription["payment_settings"] if subscription else {}
    invoice: Document = {
        "id": invoice_id,
        "object": "invoice",
        **_blank(),
        "automatic_tax": {**nulls("disabled_reason liability provider status"), "enabled": taxed},
        "billing_reason": reason,
        "collection_method": subscription["collection_method"] if subscription else "charge_automatically",
        "created": now,
        "currency": currency,
        **_customer_fields(books, customer),
        "discounts": list(discount_ids),
        "parent": _parent(subscription),
        "payment_settings": {
            **nulls("default_mandate payment_method_options"),
            "payment_method_types": settings.get("payment_method_types"),
        },
        "period_end": now,
        "period_start": now,
        "starting_balance": customer["balance"],
        "test_clock": customer["test_clock"],
        "_subscription": subscription["id"] if subscription else None,
        **members,
    }
    fill(books, invoice, lines)
    books.emit("invoice.created", books.keep(invoice))
    return invoice


def _blank() -> Document:
    """What no invoice of ours uses, and what none has before it is worked on."""
    return {
        **nulls("account_tax_ids application automatically_finalizes_at custom_fields customer_account"),
        **nulls("default_source description due_date effective_at ending_balance footer from_invoice"),
        **nulls("hosted_invoice_url invoice_pdf last_finalization_error latest_revision next_payment_attempt number"),
        **nulls("on_behalf_of receipt_number rendering shipping_cost shipping_details statement_descriptor"),
        **nulls("webhooks_delivered_at"),
        "account_country": "US",
        "account_name": "NextPanel",
        "amount_overpaid": 0,
        "amount_paid": 0,
        "amount_paid_off_stripe": 0,
        "amount_shipping": 0,
        "attempt_count": 0,
        "attempted": False,
        "auto_advance": True,
        "default_payment_method": None,
        "default_tax_rates": [],
        "issuer": {"type": "self"},
        "livemode": False,
        "metadata": {},
        "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0,
        "status": "draft",
        "status_transitions": nulls("finalized_at marked_uncollectible_at paid_at voided_at"),
    }


def _customer_fields(books: Books, customer: Document) -> Document:
    same = {f"customer_{name}": customer[name] for name in ("address", "email", "name", "phone", "shipping")}
    ids = [{name: one[name] for name in ("type", "value")} for one in tax_ids.of_customer(books, customer["id"])]
    return {"customer": customer["id"], **same, "customer_tax_exempt": customer["tax_exempt"], "customer_tax_ids": ids}


def _parent(subscription: Document | None) -> Document | None:
    if subscription is None:
        return None
    details = {"metadata": subscription["metadata"], "subscription": subscription["id"]}
    return {"quote_details": None, "subscription_details": details, "type": "subscription_details"}


def fill(books: Books, invoice: Document, lines: Sequence[Document]) -> None:
    """Put the lines in and work out every sum."""
    data = [{**entry, "invoice": invoice["id"]} for entry in lines]
    off = _discount(books, invoice, data)
    subtotal = total(lines)
    net = subtotal - sum(one["amount"] for one in off)
    taxes = _tax(books, invoice, data)
    sum_total = net + sum(one["amount"] for one in taxes)
    owed = max(sum_total + invoice["starting_balance"], 0)
    due = 0 if too_small(owed, invoice["currency"]) else owed
    invoice |= {
        "lines": a_list(f"/v1/invoices/{invoice['id']}/lines", data),
        "subtotal": subtotal,
        "subtotal_excluding_tax": subtotal,
        "total": sum_total,
        "total_discount_amounts": off,
        "total_excluding_tax": net,
        "total_pretax_credit_amounts": [{**one, "type": "discount"} for one in off],
        "total_taxes": taxes,
        "amount_due": due,
        "amount_remaining": due,
    }


def _tax(books: Books, invoice: Document, lines: Sequence[Document]) -> list[Document]:
    """Tax the lines where that is wanted; returns the taxes in all."""
    if not invoice["automatic_tax"]["enabled"]:
        return []
    rate = tax.rate_for(books, books.fetch("customer", invoice["customer"]))
    tax.tax_lines(lines, rate)
    status = "complete" if rate else "requires_location_inputs"
    invoice["automatic_tax"] |= {"liability": {"type": "self"}, "provider": "stripe", "status": status}
    return tax.together([one for entry in lines for one in entry["taxes"]])


def _discount(books: Books, invoice: Document, lines: Sequence[Document]) -> list[Document]:
    """Reduce the lines by the invoice's discounts; returns what each discount takes off in all."""
    reducible = [entry for entry in lines if entry["discountable"]]
    coupons = discounts.coupons_of(books, invoice["discounts"])
    taken = discounts.reductions(books, coupons, [entry["amount"] for entry in reducible])
    for position, entry in enumerate(reducible):
        parts = [
            {"amount": parts[position], "discount": discount_id}
            for discount_id, parts in zip(invoice["discounts"], taken, strict=True)
        ]
        entry |= {"discount_amounts": parts, "pretax_credit_amounts": [{**one, "type": "discount"} for one in parts]}
    return [
        {"amount": sum(parts), "discount": discount_id}
        for discount_id, parts in zip(invoice["discounts"], taken, strict=True)
    ]


def finalize(books: Books, invoice: Document, intent: Document | None = None) -> None:
    """Give it its number and open it. `intent` is a payment that was made before its invoice (checkout)."""
    expect(invoice, "draft", "finalize")
    if invoice["automatic_tax"]["status"] == "requires_location_inputs":
        raise tax.location_missing()
    customer = books.fetch("customer", invoice["customer"])
    number = f"{customer['invoice_prefix']}-{customer['next_invoice_sequence']:04}"
    books.keep({**customer, "next_invoice_sequence": customer["next_invoice_sequence"] + 1})
    page = f"{books.public_url}/i/{invoice['id']}"
    invoice["status_transitions"]["finalized_at"] = books.now()
    invoice |= {
        "automatically_finalizes_at": None,
        "effective_at": books.now(),
        "ending_balance": invoice["starting_balance"] + invoice["total"] - invoice["amount_due"],
        "hosted_invoice_url": page,
        "invoice_pdf": f"{page}/pdf",
        "number": number,
        "status": "open",
    }
    customer_balance.use(books, invoice)
    if invoice["amount_due"]:
        _expect_payment(books, invoice, intent)
    books.emit("invoice.finalized", books.keep(invoice))
    if not invoice["amount_due"]:
        settle(books, invoice)


def _expect_payment(books: Books, invoice: Document, intent: Document | None) -> None:
    if intent is None:
        subscription = invoice["parent"] is not None
        intent = payments.open_intent(
            books,
            invoice["amount_due"],
            invoice["currency"],
            customer=invoice["customer"],
            description=_DESCRIPTIONS.get(invoice["billing_reason"], "Payment for Invoice"),
            setup_future_usage="off_session" if subscription else None,
        )
    books.keep(
        {
            "id": new_id("inpay"),
            "object": "invoice_payment",
            "amount_paid": None,
            "amount_requested": invoice["amount_due"],
            "created": books.now(),
            "currency": invoice["currency"],
            "invoice": invoice["id"],
            "is_default": True,
            "livemode": False,
            "payment": {"payment_intent": intent["id"], "type": "payment_intent"},
            "status": "open",
            "status_transitions": nulls("canceled_at paid_at"),
        }
    )


_DESCRIPTIONS: Final = {"subscription_create": "Subscription creation", "subscription_update": "Subscription update"}


def settle(books: Books, invoice: Document, *, off_stripe: bool = False, nothing_left: bool = False) -> None:
    """It is paid: by its payment intent, by nothing being due, by credit notes for all of it, or outside Stripe."""
    invoice["status_transitions"]["paid_at"] = books.now()
    payment = None if nothing_left else payment_of(books, invoice["id"])
    amount = invoice["amount_remaining"]
    invoice |= {
        "amount_paid": amount,
        "amount_paid_off_stripe": amount if off_stripe else 0,
        "amount_remaining": 0,
        "attempt_count": invoice["attempt_count"] + (0 if off_stripe or payment is None else 1),
        "attempted": True,
        "auto_advance": False,
        "next_payment_attempt": None,
        "status": "paid",
    }
    books.emit("invoice.paid", books.keep(invoice))
    books.emit("invoice.payment_succeeded", invoice)
    if payment and off_stripe:
        close_payment(books, payment)
    elif payment:
        payment["status_transitions"]["paid_at"] = books.now()
        payment |= {"amount_paid": amount, "status": "paid"}
        books.emit("invoice_payment.paid", books.keep(payment))


def payment_failed(books: Books, invoice: Document) -> None:
    """One try more has failed; a renewal is tried again by itself, a first payment waits for its customer."""
    # Nor is the invoice of a pending update tried again by itself: the update waits for its customer, and expires.
    first = invoice["billing_reason"] in ("subscription_create", "manual") or invoice.get("_update", False)
    previous = {name: invoice[name] for name in ("attempt_count", "attempted", "next_payment_attempt")}
    invoice |= {
        "attempt_count": invoice["attempt_count"] + 1,
        "attempted": True,
        "next_payment_attempt": None if first else _next_attempt(books, invoice["attempt_count"]),
    }
    books.emit("invoice.payment_failed", books.keep(invoice))
    books.emit("invoice.updated", invoice, previous)


def _next_attempt(books: Books, failed_before: int) -> int | None:
    """When the payment is tried again after one more failure; None where it is not."""
    retries = collection_settings(books).retries
    return books.now() + retries[failed_before] * _DAY if failed_before < len(retries) else None


def void(books: Books, invoice: Document) -> None:
    invoice["status_transitions"]["voided_at"] = books.now()
    invoice |= {"status": "void", "auto_advance": False, "next_payment_attempt": None}
    payment = payment_of(books, invoice["id"])
    if payment:
        close_payment(books, payment)
    customer_balance.give_back(books, invoice)
    books.emit("invoice.voided", books.keep(invoice))


def close_payment(books: Books, payment: Document) -> None:
    """Nothing is paid this way any more."""
    payment["status_transitions"]["canceled_at"] = books.now()
    books.keep({**payment, "status": "canceled"})
    intent = books.fetch("payment_intent", payment["payment"]["payment_intent"])
    if intent["status"] in payments.CONFIRMABLE:
        payments.cancel(books, intent, "void_invoice")


def payment_of(books: Books, invoice_id: str) -> Document | None:
    found = books.all("invoice_payment", Where("$.invoice", invoice_id))
    return found[0] if found else None


def expect(invoice: Document, status: str, verb: str) -> None:
    if invoice["status"] != status:
        code = "invoice_not_editable" if status == "draft" else "invoice_not_open"
        raise wrong_state(f"You can only {verb} {status} invoices. This invoice is {invoice['status']}.", code)
