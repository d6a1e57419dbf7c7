"""Every operation that the simulator serves, called with the real SDK, and every answer held against two oracles.

`declared_types` knows what the SDK's resource classes declare, `always_present` what Stripe never leaves out. The last
test asks the simulator which requests it received: an operation that this file forgets is a failure.
"""

import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import stripe

from devstack.simulators.stripe.app import OPERATIONS
from tests.devstack.simulators.running import Simulator
from tests.devstack.simulators.stripe.always_present import absentees
from tests.devstack.simulators.stripe.declared_types import violations
from tests.devstack.simulators.stripe.shop import API_KEY, DECLINED, Shop, wire


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Its own, because it is asked at the end what was called."""
    data = tmp_path_factory.mktemp("contract")
    with (
        closing(Simulator("stripe", data, "--api-key", API_KEY).start()) as simulator,
        closing(Shop(simulator)) as running,
    ):
        yield running


def hold(*answers: Any) -> None:
    """Each answer, and each object inside it, is what Stripe declares."""
    for answer in answers:
        document = wire(answer)
        objects = document["data"] if document.get("object") == "list" else [document]
        assert objects, f"nothing to look at: {document}"
        assert [objection for one in objects for objection in violations(one)] == []
        assert absentees(objects) == []


def test_account(shop: Shop) -> None:
    hold(shop.v1.accounts.retrieve_current())


def test_customers(shop: Shop) -> None:
    customers = shop.v1.customers
    made = customers.create(
        {
            "email": "b@example.com",
            "name": "B",
            "phone": "1",
            "address": {"country": "AT", "city": "Wien"},
            "metadata": {"user": "7"},
            "payment_method": "pm_card_visa",
            "expand": ["subscriptions", "tax_ids", "sources", "tax", "invoice_settings.default_payment_method"],
        }
    )
    hold(
        made,
        customers.retrieve(made.id),
        customers.update(made.id, {"name": "C", "metadata": {"user": "", "plan": "x"}}),
        customers.list({"email": "b@example.com"}),
        customers.payment_methods.list(made.id),
        customers.delete(shop.customer().id),
    )
    method = customers.payment_methods.list(made.id).data[0].id
    hold(customers.payment_methods.retrieve(made.id, method))


def test_products_and_prices(shop: Shop) -> None:
    products, prices = shop.v1.products, shop.v1.prices
    product = products.create({"name": "P", "default_price_data": {"currency": "eur", "unit_amount": 100}})
    hold(
        product,
        products.retrieve(product.id, {"expand": ["default_price"]}),
        products.update(product.id, {"description": "d", "active": False}),
        products.list({"active": False}),
        products.delete(products.create({"name": "gone"}).id),
    )
    price = prices.create(
        {
            "product": product.id,
            "currency": "usd",
            "unit_amount_decimal": "12.5",  # type: ignore[typeddict-item]  # the SDK takes the text of a Decimal too
            "recurring": {"interval": "year", "interval_count": 1},
            "lookup_key": "contract",
            "nickname": "n",
        }
    )
    hold(
        price,
        prices.retrieve(price.id, {"expand": ["product"]}),
        prices.update(price.id, {"metadata": {"a": "b"}, "active": False}),
        prices.list({"lookup_keys": ["contract"], "expand": ["data.product"]}),
    )


def test_coupons_and_promotion_codes(shop: Shop) -> None:
    coupons, codes = shop.v1.coupons, shop.v1.promotion_codes
    coupon = coupons.create({"percent_off": 12.5, "duration": "repeating", "duration_in_months": 3, "name": "Spring"})
    code = codes.create({"promotion": {"type": "coupon", "coupon": coupon.id}, "code": "contract"})
    hold(
        coupon,
        coupons.create({"amount_off": 500, "currency": "usd"}),
        coupons.retrieve(coupon.id),
        coupons.update(coupon.id, {"name": "Summer"}),
        coupons.list(),
        code,
        codes.retrieve(code.id, {"expand": ["promotion.coupon"]}),
        codes.list({"code": "contract"}),
        codes.update(code.id, {"active": False}),
        coupons.delete(coupon.id),
    )


def test_disputes(shop: Shop) -> None:
    disputes = shop.v1.disputes
    for card in ("pm_card_createDispute", "pm_card_createDisputeInquiry"):
        shop.subscription(customer=shop.customer(card).id)
    inquiry, chargeback = disputes.list({"limit": 2}).data
    hold(
        disputes.retrieve(chargeback.id, {"expand": ["charge", "payment_intent"]}),
        disputes.update(chargeback.id, {"evidence": {"uncategorized_text": "winning_evidence"}}),
        disputes.update(inquiry.id, {"evidence": {"uncategorized_text": "escalate_inquiry_evidence"}}),
        disputes.close(inquiry.id),
        disputes.list({"charge": str(chargeback.charge)}),
        shop.v1.charges.retrieve(str(chargeback.charge)),
    )


def test_payment_methods(shop: Shop) -> None:
    methods = shop.v1.payment_methods
    number: Any = {"number": "4242424242424242", "exp_month": 12, "exp_year": 2098, "cvc": "123"}
    typed = methods.create({"type": "card", "card": number, "billing_details": {"name": "N"}})
    hold(
        typed,
        methods.create({"type": "card", "card": {"token": "tok_mastercard"}}),
        methods.retrieve(typed.id),
        methods.attach(typed.id, {"customer": shop.customer().id}),
        methods.update(typed.id, {"card": {"exp_year": 2099}}),
        methods.list({"limit": 3}),
        methods.detach(typed.id),
    )


def test_payment_intents_charges_and_refunds(shop: Shop) -> None:
    intents, refunds = shop.v1.payment_intents, shop.v1.refunds
    paid = intents.create(
        {
            "amount": 2000,
            "currency": "usd",
            "customer": shop.customer().id,
            "payment_method": "pm_card_visa",
            "setup_future_usage": "off_session",
            "confirm": True,
            "expand": ["latest_charge.balance_transaction", "payment_method", "customer"],
        }
    )
    refund = refunds.create({"payment_intent": paid.id, "amount": 500, "reason": "requested_by_customer"})
    charge = intents.retrieve(paid.id).latest_charge
    hold(
        paid,
        intents.list({"limit": 3}),
        refund,
        refunds.retrieve(refund.id, {"expand": ["charge", "balance_transaction"]}),
        refunds.update(refund.id, {"metadata": {"a": "b"}}),
        refunds.list({"payment_intent": paid.id}),
        shop.v1.charges.retrieve(str(charge), {"expand": ["refunds"]}),
        shop.v1.charges.list({"payment_intent": paid.id}),
        shop.v1.charges.update(str(charge), {"description": "d"}),
        shop.v1.balance_transactions.list({"source": str(charge)}),
    )
    transaction = shop.v1.balance_transactions.list().data[0].id
    hold(shop.v1.balance_transactions.retrieve(transaction))


def test_credit_notes_and_balances(shop: Shop) -> None:
    notes, entries = shop.v1.credit_notes, shop.v1.customers.balance_transactions
    coupon = shop.v1.coupons.create({"percent_off": 10, "duration": "forever"})
    made = shop.subscription(discounts=[{"coupon": coupon.id}], expand=["latest_invoice"])
    customer, invoice = str(made.customer), wire(made)["latest_invoice"]
    line: Any = {"type": "invoice_line_item", "invoice_line_item": invoice["lines"]["data"][0]["id"], "amount": 1000}
    wanted: Any = {"invoice": invoice["id"], "lines": [line], "refund_amount": 400, "credit_amount": 500}
    note = notes.create(wanted)
    shop.v1.invoice_items.create({"customer": customer, "amount": 5000, "currency": "usd"})
    opened = shop.v1.invoices.create({"customer": customer, "pending_invoice_items_behavior": "include"})
    shop.v1.invoices.finalize_invoice(opened.id)
    reduced = notes.create({"invoice": opened.id, "amount": 1000, "memo": "A late sorry"})
    entry = entries.create(customer, {"amount": -250, "currency": "usd", "description": "Goodwill"})
    hold(
        notes.preview({"invoice": invoice["id"], "amount": 100, "out_of_band_amount": 100}),
        note,
        notes.list({"invoice": invoice["id"]}),
        notes.retrieve(note.id, {"expand": ["refunds.refund", "customer_balance_transaction"]}),
        notes.line_items.list(note.id),
        notes.update(note.id, {"memo": "Sorry"}),
        notes.void_credit_note(reduced.id),
        entry,
        entries.list(customer),
        entries.retrieve(customer, entry.id),
        entries.update(customer, entry.id, {"metadata": {"a": "b"}}),
    )


def test_tax_ids(shop: Shop) -> None:
    ids, customer = shop.v1.customers.tax_ids, shop.customer().id
    made = ids.create(customer, {"type": "eu_vat", "value": "FR12345678901"})
    hold(made, ids.retrieve(customer, made.id), ids.list(customer), ids.delete(customer, made.id))
    shop.v1.customers.update(customer, {"address": {"country": "DE"}})
    bank: Any = {"automatic_tax": {"enabled": True}, "customer": customer}
    hold(shop.session(**bank))


def test_a_payment_intent_on_its_way(shop: Shop) -> None:
    intents = shop.v1.payment_intents
    asked = intents.create({"amount": 2000, "currency": "usd", "payment_method": "pm_card_threeDSecure2Required"})
    redirecting: Any = {"return_url": "http://shop.example/back"}
    held = intents.create(
        {
            "amount": 900,
            "currency": "usd",
            "payment_method": "pm_card_visa",
            "capture_method": "manual",
            "confirm": True,
        }
    )
    hold(
        asked,
        intents.update(asked.id, {"amount": 2100, "description": "d"}),
        intents.confirm(asked.id, redirecting),
        intents.cancel(asked.id, {"cancellation_reason": "abandoned"}),
        held,
        intents.capture(held.id, {"amount_to_capture": 800}),
    )


def test_setup_intents(shop: Shop) -> None:
    setups = shop.v1.setup_intents
    customer = shop.customer().id
    setup = setups.create({"customer": customer, "usage": "off_session"})
    hold(
        setup,
        setups.update(setup.id, {"metadata": {"a": "b"}}),
        setups.confirm(
            setup.id, {"payment_method": "pm_card_authenticationRequired", "return_url": "http://a.example"}
        ),
        setups.cancel(setup.id),
        setups.create({"customer": customer, "payment_method": "pm_card_visa", "confirm": True}),
        setups.retrieve(setup.id),
        setups.list({"customer": customer}),
    )


def test_declines_are_declared_too(shop: Shop) -> None:
    with pytest.raises(stripe.CardError) as refused:
        shop.v1.payment_intents.create(
            {"amount": 900, "currency": "usd", "payment_method": "pm_card_chargeDeclined", "confirm": True}
        )
    with pytest.raises(stripe.CardError) as not_kept:
        shop.v1.setup_intents.create({"payment_method": "pm_card_chargeDeclined", "confirm": True})
    for error, name in ((refused, "payment_intent"), (not_kept, "setup_intent")):
        body: Any = error.value.json_body
        document = body["error"][name]
        assert violations(document) == []
        assert absentees(document) == []
    hold(shop.v1.payment_intents.list({"limit": 1}), shop.v1.charges.list({"limit": 1}))


def test_checkout(shop: Shop) -> None:
    sessions = shop.v1.checkout.sessions
    session = shop.session(metadata={"order": "1"}, subscription_data={"metadata": {"order": "1"}})
    hold(session, sessions.update(session.id, {"metadata": {"order": "2"}}))
    assert shop.pay(session, DECLINED).status_code == 402
    assert shop.pay(session).status_code == 303
    hold(
        sessions.retrieve(session.id, {"expand": ["line_items", "subscription.latest_invoice", "customer", "invoice"]}),
        sessions.list({"limit": 2}),
        sessions.line_items.list(session.id),
        sessions.expire(shop.session().id),
    )


def test_payment_pages(shop: Shop) -> None:
    """Not in the SDK's services; the Stripe CLI pays through them."""
    session = shop.session()
    page = shop.client.raw_request("get", f"/v1/payment_pages/{session.id}")
    paid = shop.client.raw_request(
        "post", f"/v1/payment_pages/{session.id}/confirm", payment_method="pm_card_visa", expected_amount=9900
    )
    for answer in (page, paid):
        assert violations(answer.data) == []
        assert absentees(answer.data) == []


def test_subscriptions(shop: Shop) -> None:
    subscriptions = shop.v1.subscriptions
    coupon = shop.v1.coupons.create({"percent_off": 10, "duration": "forever"})
    made = shop.subscription(discounts=[{"coupon": coupon.id}], expand=["latest_invoice", "discounts"])
    trial = shop.subscription(trial_period_days=7)
    item = made["items"].data[0].id
    hold(
        made,
        subscriptions.retrieve(made.id, {"expand": ["customer", "latest_invoice.payments", "default_payment_method"]}),
        subscriptions.list({"customer": str(made.customer)}),
        subscriptions.update(made.id, {"items": [{"id": item, "price": shop.price(29900)}]}),
        subscriptions.update(made.id, {"cancel_at_period_end": True}),
        shop.v1.subscription_items.list({"subscription": made.id}),
        shop.v1.subscription_items.retrieve(item),
        trial,
        subscriptions.pause(trial.id, {"type": "subscription"}),
        subscriptions.resume(trial.id, {"billing_cycle_anchor": {"type": "unchanged"}}),
        subscriptions.cancel(trial.id, {"cancellation_details": {"comment": "no"}}),
    )


def test_schedules(shop: Shop) -> None:
    schedules = shop.v1.subscription_schedules
    subscription = shop.subscription()
    made = schedules.create({"from_subscription": subscription.id, "metadata": {"a": "b"}})
    first = made.phases[0]
    now: Any = {
        "items": [{"price": first["items"][0].price, "quantity": 1}],
        "start_date": first.start_date,
        "end_date": first.end_date,
    }
    later: Any = {"items": [{"price": shop.price(2900)}], "duration": {"interval": "month", "interval_count": 1}}
    hold(
        made,
        schedules.update(made.id, {"phases": [now, later], "metadata": {"a": ""}}),
        schedules.retrieve(made.id, {"expand": ["subscription"]}),
        schedules.list({"customer": str(subscription.customer)}),
        shop.v1.subscriptions.retrieve(subscription.id, {"expand": ["schedule"]}),
        schedules.release(made.id),
    )


def test_pending_updates(shop: Shop) -> None:
    subscription = shop.subscription(customer=shop.customer("pm_card_threeDSecure2Required").id)
    shop.confirm_latest(subscription.id)
    change: Any = {
        "items": [{"id": subscription["items"].data[0].id, "price": shop.price(29900)}],
        "payment_behavior": "pending_if_incomplete",
        "proration_behavior": "always_invoice",
    }
    held = shop.v1.subscriptions.update(subscription.id, change)
    assert held.pending_update
    hold(held, shop.v1.invoices.void_invoice(str(held.latest_invoice)))


def test_clocks(shop: Shop) -> None:
    clocks = shop.v1.test_helpers.test_clocks
    clock = clocks.create({"frozen_time": 1_800_000_000, "name": "contract"})
    customer = shop.v1.customers.create({"test_clock": clock.id, "payment_method": "pm_card_visa"})
    subscription = shop.subscription(customer=customer.id)
    advanced = clocks.advance(clock.id, {"frozen_time": 1_800_000_000 + 40 * 86400})
    hold(
        clock,
        advanced,
        clocks.retrieve(clock.id),
        clocks.list(),
        customer,
        shop.v1.subscriptions.retrieve(subscription.id, {"expand": ["latest_invoice", "test_clock"]}),
        clocks.delete(clock.id),
    )


def test_previews(shop: Shop) -> None:
    subscription = shop.subscription()
    item = subscription["items"].data[0].id
    details: Any = {"items": [{"id": item, "price": shop.price(29900)}], "proration_behavior": "always_invoice"}
    invoices = shop.v1.invoices
    hold(
        invoices.create_preview({"subscription": subscription.id}),
        invoices.create_preview({"subscription": subscription.id, "subscription_details": details}),
    )


def test_invoices(shop: Shop) -> None:
    invoices = shop.v1.invoices
    made = shop.subscription(payment_behavior="default_incomplete")
    first = str(made.latest_invoice)
    hold(
        invoices.retrieve(first, {"expand": ["payments.data.payment.payment_intent", "confirmation_secret"]}),
        invoices.list({"subscription": made.id}),
        invoices.line_items.list(first),
        shop.v1.invoice_payments.list({"invoice": first}),
        invoices.update(first, {"metadata": {"a": "b"}}),
        invoices.pay(first, {"payment_method": "pm_card_visa"}),
    )
    payment = shop.v1.invoice_payments.list({"invoice": first, "expand": ["data.payment.payment_intent"]})
    hold(payment, shop.v1.invoice_payments.retrieve(payment.data[0].id))


def test_invoices_by_hand(shop: Shop) -> None:
    invoices, items = shop.v1.invoices, shop.v1.invoice_items
    customer = shop.customer("pm_card_visa").id
    item = items.create({"customer": customer, "amount": 700, "currency": "usd", "description": "One hour"})
    spare = items.create({"customer": customer, "amount": 100, "currency": "usd"})
    hold(item, items.retrieve(item.id), items.list({"customer": customer}), items.delete(spare.id))
    draft = invoices.create({"customer": customer, "pending_invoice_items_behavior": "include"})
    by_mail = invoices.create({"customer": customer, "collection_method": "send_invoice", "days_until_due": 3})
    items.create({"customer": customer, "amount": 100, "currency": "usd", "invoice": by_mail.id})
    hold(
        draft,
        invoices.finalize_invoice(draft.id),
        invoices.mark_uncollectible(draft.id),
        invoices.void_invoice(draft.id),
    )
    hold(invoices.send_invoice(by_mail.id), invoices.delete(invoices.create({"customer": customer}).id))


def test_webhook_endpoints_and_events(shop: Shop) -> None:
    endpoints, events = shop.v1.webhook_endpoints, shop.v1.events
    made = endpoints.create({"url": "http://127.0.0.1:9/hook", "enabled_events": ["coupon.deleted"]})
    assert made.secret
    hold(
        made,
        endpoints.retrieve(made.id),
        endpoints.update(made.id, {"disabled": True}),
        endpoints.list(),
        endpoints.delete(made.id),
        events.retrieve(events.list().data[0].id),
    )


_NO_ID = ["event.data.object: invoice.id: missing, and not Optional in Invoice"]


def test_every_event_holds_what_it_says(shop: Shop) -> None:
    """All the events that the tests above have caused."""
    events = shop.all_events()
    assert len(events) > 100
    for event in events:
        coming = event["type"] == "invoice.upcoming"  # there is no such invoice yet, so it has no id
        assert violations(event) == (_NO_ID if coming else []), event["type"]
        assert absentees(event) == (["invoice.id"] if coming else []), event["type"]


def test_no_operation_was_forgotten(shop: Shop) -> None:
    received = {(one["method"], one["path"]) for one in shop.http.get("/_sim/requests").json()["items"]}
    forgotten = [
        f"{operation.method} {operation.path}"
        for operation in OPERATIONS
        if not any(_is_at(operation.method, operation.path, *request) for request in received)
    ]
    assert forgotten == []


def _is_at(method: str, template: str, called: str, path: str) -> bool:
    """Whether a request was this operation's: `/v1/invoices/{invoice}` takes any id."""
    return method == called and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path) is not None
