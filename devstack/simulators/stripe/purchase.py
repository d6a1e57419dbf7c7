"""Paying a checkout session: from a card to everything that a purchase leaves behind, in one transaction.

The subscription is made after its payment has gone through, never before: an abandoned or declined checkout leaves
none. A session is paid once; a second payer, even at the same moment, finds it complete.
"""

from collections.abc import Mapping
from typing import Final

from devstack.simulators.stripe import checkout, invoices, payment_methods, payments, tax
from devstack.simulators.stripe.books import Books, Document, an_address, merge_metadata, nulls
from devstack.simulators.stripe.cards import Card, CardForm
from devstack.simulators.stripe.customers import open_account
from devstack.simulators.stripe.errors import Refused
from devstack.simulators.stripe.lines import line
from devstack.simulators.stripe.subscribing import (
    BEGINNING_ORDER,
    Order,
    announce,
    begin,
    first_invoice,
    trial_settings_of,
)

ONE_OFF_ORDER: Final = (
    "customer.created",
    "charge.failed",
    "payment_intent.payment_failed",
    "charge.succeeded",
    "payment_method.attached",
    "payment_intent.succeeded",
    "payment_intent.created",
    "checkout.session.completed",
    "charge.updated",
)


def pay(books: Books, session: Document, form: CardForm, billing: Mapping[str, str]) -> Document:
    """Pay with a card as typed; see `pay_with`. `billing`: name, e-mail address, country and state, as typed."""
    details: Document = {name: billing.get(name) or None for name in ("name", "email")}
    details["email"] = details["email"] or _known_email(books, session)
    if billing.get("country"):
        details["address"] = an_address({"country": billing["country"].upper(), "state": billing.get("state") or None})
    method = payment_methods.make(books, form, details)
    _locate(books, session, method)
    return pay_with(books, session, method)


def _locate(books: Books, session: Document, method: Document) -> None:
    """Tax a session by the address that was typed, where the customer had none."""
    if session["automatic_tax"]["status"] != "requires_location_inputs":
        return
    customer = _customer(books, session, method)
    address = method["billing_details"]["address"]
    if customer is None or not address["country"]:
        raise tax.location_missing()
    books.emit("customer.updated", books.keep({**customer, "address": address}), {"address": customer["address"]})
    checkout.reprice(books, session, session["discounts"])
    books.keep(session)


def pay_with(books: Books, session: Document, method: Document) -> Document:
    """The session comes back complete, or open and waiting for the card's owner to confirm.

    A decline is raised, written down, and leaves the session open.
    """
    card = payment_methods.card_of(method)
    session["_method"] = method["id"]
    if card.needs_owner(off_session=False, set_up=False) and session["amount_total"]:
        session["_awaiting_owner"] = True
        return books.keep(session)
    return _complete(books, session, method, card, confirmed=False)


def owner_answered(books: Books, session: Document, *, agreed: bool) -> Document:
    """The card's owner has said yes or no on the 3-D Secure page of this checkout."""
    session["_awaiting_owner"] = False
    books.keep(session)
    if not agreed:
        raise Refused(402, _NOT_AUTHENTICATED, keeps_effects=True, type="card_error", code="authentication_failed")
    method = books.fetch("payment_method", session["_method"])
    return _complete(books, session, method, payment_methods.card_of(method), confirmed=True)


_NOT_AUTHENTICATED: Final = "We are unable to authenticate your payment method. Choose a different one and try again."


def _complete(books: Books, session: Document, method: Document, card: Card, *, confirmed: bool) -> Document:
    subscribing_now = session["mode"] == "subscription"
    with books.in_order(BEGINNING_ORDER if subscribing_now else ONE_OFF_ORDER):
        customer = _customer(books, session, method)
        if session["amount_total"] == 0 and card.attach:
            raise payment_methods.declined(card.attach)
        intent = _paid(books, session, customer, method, confirmed=confirmed) if session["amount_total"] else None
        if subscribing_now and customer:
            payment_methods.attach(books, method, customer["id"])
            _subscribe(books, session, customer, method, intent)
        _close(books, session, customer, method, intent)
    return session


def _customer(books: Books, session: Document, method: Document) -> Document | None:
    """Whom the purchase is for: kept on the session from the first try, so that a second try is not a second person."""
    known = session["customer"] or session.get("_customer")
    if known:
        return books.fetch("customer", known)
    if session["customer_creation"] != "always":
        return None
    billing = method["billing_details"]
    customer = open_account(books, {name: billing[name] for name in ("name", "email") if billing[name]})
    session["_customer"] = customer["id"]
    books.keep(session)
    return customer


def _paid(books: Books, session: Document, customer: Document | None, method: Document, *, confirmed: bool) -> Document:
    intent = books.find("payment_intent", session.get("_intent", ""))
    if intent is None or intent["amount"] != session["amount_total"]:
        intent = _new_intent(books, session, customer)
        session["_intent"] = intent["id"]
        books.keep(session)
    # Checkout has shown its own 3-D Secure page where the card asks for one.
    return payments.confirm(books, intent, method, confirmed=confirmed)


def _new_intent(books: Books, session: Document, customer: Document | None) -> Document:
    data = session["_data"]
    if session["mode"] == "subscription":
        description, metadata, usage = "Subscription creation", {}, "off_session"
    else:
        description = data.get("description")
        metadata = merge_metadata({}, data.get("metadata", {}))
        usage = data.get("setup_future_usage")
    return payments.open_intent(
        books,
        session["amount_total"],
        session["currency"],
        customer=customer["id"] if customer else None,
        description=description,
        metadata=metadata,
        setup_future_usage=usage,
        receipt_email=data.get("receipt_email"),
        capture_method=data.get("capture_method", "automatic_async"),
    )


def _subscribe(books: Books, session: Document, customer: Document, method: Document, intent: Document | None) -> None:
    data, items = session["_data"], session["_line_items"]
    recurring = [(item["price"], item["quantity"], item["metadata"]) for item in items if item["price"]["recurring"]]
    order = Order(
        customer=customer,
        items=recurring,
        method=method["id"],
        metadata=merge_metadata({}, data.get("metadata", {})),
        description=data.get("description"),
        trial_end=checkout.trial_end(books, session),
        trial_settings=trial_settings_of(data),
        coupons=session["discounts"],
        session=session["id"],
        currency=session["currency"],
        automatic_tax=session["automatic_tax"]["enabled"],
        billing_mode=data.get("billing_mode", {}),
    )
    subscription = begin(books, order)
    now = books.now()
    extra = [
        line(
            item["price"],
            item["quantity"],
            (now, now),
            amount=item["amount_subtotal"],
            currency=session["currency"],
            description=item["description"],
        )
        for item in items
        if not item["price"]["recurring"]
    ]
    invoice = first_invoice(books, subscription, extra)
    invoices.finalize(books, invoice, intent)
    if invoice["status"] == "open":
        invoices.settle(books, invoice)
    if subscription["status"] == "incomplete":
        books.keep({**subscription, "status": "active"})
    announce(books, subscription["id"])
    session |= {"subscription": subscription["id"], "invoice": invoice["id"]}


def _close(
    books: Books, session: Document, customer: Document | None, method: Document, intent: Document | None
) -> None:
    billing = method["billing_details"]
    session |= {
        "customer": customer["id"] if customer else None,
        "customer_details": {
            **nulls("business_name individual_name phone"),
            "address": billing["address"],
            "email": (customer or {}).get("email") or billing["email"],
            "name": billing["name"],
            "tax_exempt": "none",
            "tax_ids": [],
        },
        "payment_intent": intent["id"] if intent and session["mode"] == "payment" else None,
        "payment_status": _payment_status(intent),
        "status": "complete",
        "url": None,
    }
    books.emit("checkout.session.completed", books.keep(session))
    if intent and session["mode"] == "payment":
        books.emit("charge.updated", books.fetch("charge", intent["latest_charge"]))


def _payment_status(intent: Document | None) -> str:
    if intent is None:
        return "no_payment_required"
    return "paid" if intent["status"] == "succeeded" else "unpaid"


def _known_email(books: Books, session: Document) -> str | None:
    if session["customer"]:
        owner = books.fetch("customer", session["customer"])
        return str(owner["email"]) if owner.get("email") else None
    return str(session["customer_email"]) if session["customer_email"] else None
