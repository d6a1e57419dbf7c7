"""Purchase on the whole stack: one license, one account, one mail, at any kill."""

import time

import httpx
import pytest

from devstack.visitor import DECLINED_CARD, Headers, Visitor, eventually
from tests.e2e.conftest import RunningStack, serves


def sold_once(visitor: Visitor, email: str, me: Headers) -> None:
    """Every effect has happened exactly once, also after a pause in which a duplicate would show."""
    license_ = eventually("the account", lambda: [x for x in visitor.licenses(me) if x["nextpanel_user_id"]], 60)[0]
    eventually("the mail", lambda: visitor.ready_mails(email), 60)
    eventually("every job to be done", lambda: not waiting_jobs(visitor), 60)
    assert len(visitor.licenses(me)) == 1
    [account] = visitor.accounts(license_["id"])
    assert (account["effects"], account["nextpanel_account_id"]) == (1, license_["nextpanel_user_id"])
    assert len(visitor.ready_mails(email)) == 1
    key = visitor.reveal_key(me, license_["id"])
    assert eventually("a valid verdict", lambda: visitor.judged(key, "VALID"))["remaining_quota"] == 50
    payments = visitor.call("GET", "/payments", me)["items"]
    assert [payment["status"] for payment in payments] == ["succeeded"]


def waiting_jobs(visitor: Visitor) -> int:
    return int(visitor.call("GET", "/admin/jobs?state=waiting&limit=1", visitor.admin())["total"])


def buy(visitor: Visitor, *, come_back: bool) -> tuple[str, Headers]:
    email, me = visitor.new_customer()
    checkout = visitor.start_checkout(me)
    assert not visitor.pay(checkout["url"], come_back=come_back).is_error
    return email, me


def test_a_purchase_whose_browser_never_comes_back(visitor: Visitor) -> None:
    sold_once(visitor, *buy(visitor, come_back=False))


def test_a_purchase_whose_webhooks_come_late_twice_and_in_disorder(visitor: Visitor) -> None:
    modes = {"duplicate": 2, "reorder": True, "delay_ms": 200}
    assert visitor.http.post(f"{visitor.simulator('stripe')}/_sim/webhooks", json=modes).is_success
    try:
        sold_once(visitor, *buy(visitor, come_back=False))
    finally:
        calm = {"duplicate": 0, "reorder": False, "delay_ms": 0}
        visitor.http.post(f"{visitor.simulator('stripe')}/_sim/webhooks", json=calm)


def test_a_declined_card_is_no_license(visitor: Visitor) -> None:
    _, me = visitor.new_customer()
    checkout = visitor.start_checkout(me)
    assert visitor.pay(checkout["url"], DECLINED_CARD).status_code == 402
    assert visitor.call("GET", f"/checkout/sessions/{checkout['session_id']}", me)["license_id"] is None
    assert visitor.licenses(me) == []


@pytest.mark.parametrize("part", ["billing_api", "workers"])
@pytest.mark.parametrize("after_ms", [0, 40, 120, 300])
def test_killed_between_any_two_steps(stack: RunningStack, visitor: Visitor, part: str, after_ms: int) -> None:
    before = stack.pids(part)
    email, me = visitor.new_customer()
    checkout = visitor.start_checkout(me)
    visitor.pay(checkout["url"], come_back=False)
    time.sleep(after_ms / 1000)  # the moment of the kill; the result must be the same for each
    stack.kill(part)
    stack.let_claims_run_out()
    assert stack.restarted(part, before)
    eventually("the API", lambda: serves(visitor, "billing_api"))
    sold_once(visitor, email, me)


def test_nextpanel_cut_off_after_the_effect_and_the_worker_killed(stack: RunningStack, visitor: Visitor) -> None:
    fault = {"kind": "timeout_after_effect", "method": "POST", "path": "*/provision", "times": 1}
    assert visitor.http.post(f"{visitor.simulator('nextpanel')}/_sim/faults", json=fault).is_success
    before = stack.pids("workers")
    email, me = buy(visitor, come_back=True)
    license_id = eventually("the license", lambda: visitor.licenses(me))[0]["id"]
    eventually("the effect", lambda: visitor.accounts(license_id))
    stack.kill("workers")
    assert stack.restarted("workers", before)
    sold_once(visitor, email, me)


def test_nextpanel_down_for_a_while(visitor: Visitor) -> None:
    fault = {"kind": "status", "status": 503, "method": "POST", "path": "*/provision", "times": 2}
    assert visitor.http.post(f"{visitor.simulator('nextpanel')}/_sim/faults", json=fault).is_success
    sold_once(visitor, *buy(visitor, come_back=True))


def test_a_refused_account_is_seen_by_an_admin_and_tried_again(visitor: Visitor) -> None:
    fault = {"kind": "status", "status": 400, "method": "POST", "path": "*/provision", "times": 1}
    assert visitor.http.post(f"{visitor.simulator('nextpanel')}/_sim/faults", json=fault).is_success
    email, me = buy(visitor, come_back=True)
    admin = visitor.admin()
    query = f"/admin/licenses?provisioning=failed&email={httpx.QueryParams({'e': email})['e']}"
    stuck = eventually("the failure to be seen", lambda: visitor.call("GET", query, admin)["items"])[0]
    assert stuck["provisioning_error"]
    assert visitor.call("GET", "/admin/jobs?state=dead", admin)["total"] >= 1
    visitor.call("POST", f"/admin/licenses/{stuck['id']}/retry-provisioning", admin)
    sold_once(visitor, email, me)
