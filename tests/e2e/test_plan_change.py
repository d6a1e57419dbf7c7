"""Plan change on the whole stack: from the customer's request to the validator's answer and NextPanel's account."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from devstack.visitor import Headers, Visitor, eventually
from tests.e2e.conftest import RunningStack


def bought(visitor: Visitor, plan: str) -> tuple[str, Headers, str, str]:
    """E-mail address, headers, license and key of a user who has just bought the plan."""
    email, me = visitor.new_customer()
    checkout = visitor.start_checkout(me, plan)
    visitor.pay(checkout["url"])
    license_id = eventually("the account", lambda: [x for x in visitor.licenses(me) if x["nextpanel_user_id"]], 60)[0][
        "id"
    ]
    key = visitor.reveal_key(me, license_id)
    eventually("a valid verdict", lambda: visitor.judged(key, "VALID"))
    return email, me, license_id, key


def databases(visitor: Visitor, me: Headers, license_id: str) -> dict[str, Any]:
    found: dict[str, Any] = visitor.call("GET", f"/licenses/{license_id}/usage", me)["resources"]["databases"]
    return found


def on_nextpanel(visitor: Visitor, license_id: str, plan: str) -> bool:
    return [account["plan"] for account in visitor.accounts(license_id)] == [plan]


def test_up_at_once_down_at_the_end_of_the_period_and_what_is_used_stays(visitor: Visitor) -> None:
    email, me, license_id, key = bought(visitor, "Starter")
    visitor.report_usage(key, count=4)
    eventually("the report", lambda: visitor.judged(key, "VALID", remaining=1))

    assert visitor.change_plan(me, "Professional").is_success
    eventually("the new limit at the validator", lambda: visitor.judged(key, "VALID", remaining=46))
    eventually("NextPanel to know", lambda: on_nextpanel(visitor, license_id, "professional"))
    visitor.report_usage(key, count=4)

    pending = visitor.change_plan(me, "Starter").raise_for_status().json()["pending_change"]
    assert (pending["plan"], pending["over"]) == ("Starter", {"databases": 3})
    assert visitor.verdict(key)["remaining_quota"] == 42
    visitor.at_stripe(email, "test_clock", after_period=7200)
    eventually("the old limit at the validator", lambda: visitor.judged(key, "QUOTA_EXCEEDED", remaining=0), 60)
    eventually("NextPanel to know", lambda: on_nextpanel(visitor, license_id, "starter"))
    over = databases(visitor, me, license_id)
    assert (over["used"], over["limit"], over["over"]) == (8, 5, 3)
    query = f"/admin/licenses?overage=true&email={email}"
    assert [found["id"] for found in visitor.call("GET", query, visitor.admin())["items"]] == [license_id]


def test_a_declined_upgrade_changes_nothing(visitor: Visitor) -> None:
    email, me, license_id, key = bought(visitor, "Starter")
    before = (visitor.call("GET", f"/licenses/{license_id}", me), visitor.call("GET", "/subscriptions", me))
    visitor.at_stripe(email, "card", payment_method="pm_card_chargeCustomerFail")
    declined = visitor.change_plan(me, "Professional")
    assert (declined.status_code, declined.json()["code"]) == (402, "payment_declined")
    assert (visitor.call("GET", f"/licenses/{license_id}", me), visitor.call("GET", "/subscriptions", me)) == before
    assert visitor.judged(key, "VALID", remaining=5)
    assert on_nextpanel(visitor, license_id, "starter")


def test_an_upgrade_whose_answer_nobody_hears_is_made_by_its_webhook(stack: RunningStack, visitor: Visitor) -> None:
    """Stripe has charged, and the calling process is killed before it gets the answer."""
    _, me, license_id, key = bought(visitor, "Starter")
    fault = {"kind": "timeout_after_effect", "method": "POST", "path": "/v1/subscriptions/*", "times": 1}
    assert visitor.http.post(f"{visitor.simulator('stripe')}/_sim/faults", json=fault).is_success
    asked_before, api = changes_asked(visitor), stack.pids("billing_api")
    with ThreadPoolExecutor(1) as pool, httpx.Client(timeout=30) as browser:
        answer = pool.submit(Visitor(visitor.facts, browser).change_plan, me, "Professional")
        eventually("Stripe to be asked", lambda: changes_asked(visitor) > asked_before)
        stack.kill("billing_api")
        with pytest.raises(httpx.HTTPError):
            answer.result()
    assert stack.restarted("billing_api", api)
    upgraded_once(visitor, me, license_id, key)


def test_an_upgrade_while_no_worker_runs(stack: RunningStack, visitor: Visitor) -> None:
    _, me, license_id, key = bought(visitor, "Starter")
    workers = stack.pids("workers")
    stack.kill("workers")
    assert visitor.change_plan(me, "Professional").is_success
    assert stack.restarted("workers", workers)
    upgraded_once(visitor, me, license_id, key)


def changes_asked(visitor: Visitor) -> int:
    requests = visitor.http.get(f"{visitor.simulator('stripe')}/_sim/requests").json()["items"]
    return sum(one["method"] == "POST" and one["path"].startswith("/v1/subscriptions/") for one in requests)


def upgraded_once(visitor: Visitor, me: Headers, license_id: str, key: str) -> None:
    eventually("the new limit at the validator", lambda: visitor.judged(key, "VALID", remaining=50), 60)
    eventually("NextPanel to know", lambda: on_nextpanel(visitor, license_id, "professional"), 60)
    invoices = visitor.call("GET", "/invoices", me)["items"]
    assert [invoice["status"] for invoice in invoices] == ["paid", "paid"]
