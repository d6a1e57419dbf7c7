"""Money that goes back, on the whole stack: from Stripe's events to the validator's answer and NextPanel's account."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from devstack.visitor import Headers, Visitor, eventually
from tests.e2e.conftest import RunningStack
from tests.e2e.test_plan_change import bought

DAY = 24 * 3600


def at_stripe(stack: RunningStack, visitor: Visitor, method: str, path: str, **form: Any) -> dict[str, Any]:
    url = f"{visitor.simulator('stripe')}/v1/{path}"
    key = json.loads((stack.data / "secrets.json").read_text())["stripe_api_key"]
    answer = visitor.http.request(method, url, data=form or None, auth=(key, ""))
    found: dict[str, Any] = answer.raise_for_status().json()
    return found


def newest_charge(stack: RunningStack, visitor: Visitor, email: str) -> dict[str, Any]:
    customer = at_stripe(stack, visitor, "GET", f"customers?email={email}")["data"][0]["id"]
    found: dict[str, Any] = at_stripe(stack, visitor, "GET", f"charges?customer={customer}")["data"][0]
    return found


def on_nextpanel(visitor: Visitor, license_id: str, status: str) -> bool:
    return [account["status"] for account in visitor.accounts(license_id)] == [status]


def mails(visitor: Visitor, email: str) -> list[str]:
    return [mail["subject"] for mail in visitor.mails(email)]


def payment(visitor: Visitor, me: Headers) -> dict[str, Any]:
    found: dict[str, Any] = visitor.call("GET", "/payments", me)["items"][0]
    return found


@contextmanager
def ended_by_stripe(visitor: Visitor) -> Iterator[None]:
    """Stripe's own setting for what follows the last try, which a seller should not choose."""
    settings = f"{visitor.simulator('stripe')}/_sim/account"
    before = visitor.http.get(settings).json()
    visitor.http.post(settings, json={**before, "after": "cancel"}).raise_for_status()
    yield
    visitor.http.post(settings, json=before).raise_for_status()


def test_a_dispute_suspends_and_a_won_one_restores(stack: RunningStack, visitor: Visitor) -> None:
    email, me, license_id, key = bought(visitor, "Starter")
    charge = newest_charge(stack, visitor, email)["id"]
    stripe = visitor.simulator("stripe")
    dispute = visitor.http.post(f"{stripe}/_sim/disputes", json={"charge": charge}).raise_for_status().json()
    eventually("the verdict", lambda: visitor.judged(key, "SUSPENDED"), 30)
    eventually("NextPanel to know", lambda: on_nextpanel(visitor, license_id, "suspended"), 30)
    assert payment(visitor, me)["dispute"]["status"] == "needs_response"
    visitor.http.post(f"{stripe}/_sim/disputes/{dispute['id']}", json={"outcome": "won"}).raise_for_status()
    eventually("the verdict", lambda: visitor.judged(key, "VALID"), 30)
    eventually("NextPanel to know", lambda: on_nextpanel(visitor, license_id, "active"), 30)


def test_a_refund_is_made_once_although_workers_are_killed(stack: RunningStack, visitor: Visitor) -> None:
    email, me, license_id, key = bought(visitor, "Starter")
    path = f"{visitor.facts['billing_api']}/api/v1/admin/payments/{payment(visitor, me)['id']}/refund"
    order = {"reason": "requested_by_customer", "license": "end"}
    fault = {"kind": "timeout_after_effect", "method": "POST", "path": "/v1/refunds", "times": 1}
    visitor.http.post(f"{visitor.simulator('stripe')}/_sim/faults", json=fault).raise_for_status()
    workers = stack.pids("workers")
    assert visitor.http.post(path, json=order, headers=visitor.admin()).status_code == 201
    eventually("Stripe to refund", lambda: newest_charge(stack, visitor, email)["refunded"], 30)
    stack.kill("workers")
    assert stack.restarted("workers", workers)
    stack.let_claims_run_out()
    eventually("the verdict", lambda: visitor.judged(key, "CANCELLED"), 60)
    eventually("NextPanel to know", lambda: on_nextpanel(visitor, license_id, "terminated"), 30)
    charge = newest_charge(stack, visitor, email)
    assert (charge["amount_refunded"], charge["amount"]) == (2900, 2900)
    assert len(at_stripe(stack, visitor, "GET", f"refunds?charge={charge['id']}")["data"]) == 1
    assert payment(visitor, me)["status"] == "refunded"
    eventually("the receipt", lambda: "Your refund" in mails(visitor, email), 30)
    eventually("the end", lambda: visitor.call("GET", "/subscriptions", me)["items"][0]["status"] == "cancelled", 30)


def test_what_is_paid_after_the_end_goes_back(stack: RunningStack, visitor: Visitor) -> None:
    """Case: Stripe has given up, and the open invoice is paid with a good card."""
    email, me, _, key = bought(visitor, "Starter")
    visitor.at_stripe(email, "card", payment_method="pm_card_chargeCustomerFail")
    with ended_by_stripe(visitor):
        visitor.at_stripe(email, "test_clock", after_period=40 * DAY)
    eventually("the end", lambda: visitor.judged(key, "CANCELLED"), 60)
    customer = at_stripe(stack, visitor, "GET", f"customers?email={email}")["data"][0]["id"]
    invoice = at_stripe(stack, visitor, "GET", f"invoices?customer={customer}&status=open")["data"][0]
    at_stripe(stack, visitor, "POST", f"invoices/{invoice['id']}/pay", payment_method="pm_card_visa")
    eventually("the refund", lambda: newest_charge(stack, visitor, email)["refunded"], 60)
    eventually("our row", lambda: payment(visitor, me)["status"] == "refunded", 30)
    assert visitor.judged(key, "CANCELLED")
    eventually("the mail", lambda: "Your payment goes back to you" in mails(visitor, email), 30)
