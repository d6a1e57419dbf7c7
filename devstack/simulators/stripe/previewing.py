"""Previews of invoices: the change, or the next renewal, is really made, looked at, and undone."""

from typing import Final

from stripe.params import InvoiceCreatePreviewParams

from devstack.simulators.stripe import cycles, lifecycle, prorations
from devstack.simulators.stripe.billing import draft_change
from devstack.simulators.stripe.books import Books, Document, Params, a_list, new_id
from devstack.simulators.stripe.ending import cancel_now
from devstack.simulators.stripe.errors import Refused, invalid, not_simulated
from devstack.simulators.stripe.operations import Operations

OPERATIONS = Operations()
_NOT_SIMULATED: Final = (
    "automatic_tax currency customer_account customer_details discounts invoice_items issuer on_behalf_of preview_mode"
    " schedule schedule_details"
)
_DETAIL_NOT_SIMULATED: Final = (
    "billing_mode billing_schedules cancel_at cancel_at_period_end default_tax_rates metadata pause"
    " resume_at start_date trial_end"
)


@OPERATIONS.post("/v1/invoices/create_preview", InvoiceCreatePreviewParams)
def create_preview(books: Books, params: Params) -> Document:
    not_simulated(params, _NOT_SIMULATED)
    if "subscription" not in params:
        raise invalid("This simulator previews invoices of a subscription only.", "subscription", "parameter_missing")
    subscription = books.fetch("subscription", params["subscription"], "subscription")
    if subscription["status"] in lifecycle.ENDED:
        raise Refused(404, "No upcoming invoices for this subscription", code="invoice_upcoming_none")
    details = params.get("subscription_details", {})
    not_simulated(details, _DETAIL_NOT_SIMULATED)
    seen: Document | None = None
    with books.only_looking():
        if details.get("cancel_now"):
            seen = _end(books, subscription, details)
        elif _changes(details):
            seen = _change(books, subscription, details)
        if seen is None and details.get("cancel_now"):
            raise Refused(404, "Nothing to invoice for subscription", code="invoice_upcoming_none")
        seen = seen or cycles.renew(books, subscription)
    return _shown(seen)


def _changes(details: Params) -> bool:
    return bool(details.get("items") or details.get("billing_cycle_anchor"))


def _end(books: Books, subscription: Document, details: Params) -> Document | None:
    """The last invoice, if it were canceled now; None where there would be none."""
    before = subscription["latest_invoice"]
    prorate = details.get("proration_behavior", "create_prorations") != "none"
    cancel_now(books, subscription, prorate=prorate, invoice_now=True)
    latest = books.fetch("subscription", subscription["id"])["latest_invoice"]
    return books.fetch("invoice", latest) if latest != before else None


def _change(books: Books, subscription: Document, details: Params) -> Document | None:
    behavior = details.get("proration_behavior", "create_prorations")
    at = details.get("proration_date", books.now())
    reset = details.get("billing_cycle_anchor", {}).get("type") == "now"
    changed = prorations.change_items(books, subscription, details.get("items", []), behavior, at, reset=reset)
    after = {**subscription, "items": {**subscription["items"], "data": changed.items}}
    if changed.anew or behavior == "always_invoice":
        return draft_change(books, after, changed)
    return cycles.renew(books, books.keep(after))


def _shown(invoice: Document) -> Document:
    """A preview has an id of its own kind, and no object will ever have it."""
    preview_id = new_id("upcoming_in")
    data = [{**line, "invoice": preview_id} for line in invoice["lines"]["data"]]
    lines = a_list(f"/v1/invoices/{preview_id}/lines", data)
    return {**invoice, "id": preview_id, "lines": lines, "automatically_finalizes_at": None}
