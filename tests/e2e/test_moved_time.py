"""Time of a whole stack, moved through the simulator of Stripe: what falls due happens, and is seen from outside."""

import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, Final

import httpx
import pytest

from devstack.visitor import Headers, Visitor, eventually
from tests.e2e.conftest import RunningStack, running_stack

_DAY: Final = 24 * 3600


@pytest.fixture(scope="module")
def moved_stack() -> Iterator[RunningStack]:
    """A stack of its own: the time of the other one is what the other tests' clients go by."""
    with running_stack() as stack:
        yield stack


@pytest.fixture
def traveller(moved_stack: RunningStack) -> Iterator[Visitor]:
    with httpx.Client(timeout=15) as http:
        yield Visitor(moved_stack.facts(), http)


class Buyer:
    def __init__(self, visitor: Visitor) -> None:
        self.email, self.password = f"traveller-{int(visitor.now())}@example.com", "a password of five words"
        self._visitor = visitor
        visitor.register(self.email, self.password)
        visitor.follow_verification_link(self.email)
        me = self.sign_in()
        visitor.pay(visitor.start_checkout(me, "Starter")["url"])
        found = eventually("the account", lambda: [x for x in visitor.licenses(me) if x["nextpanel_user_id"]], 60)
        self.key = visitor.reveal_key(me, found[0]["id"])
        eventually("a valid verdict", lambda: visitor.judged(self.key, "VALID"))

    def sign_in(self) -> Headers:
        return self._visitor.sign_in(self.email, self.password)

    def license_ends(self, me: Headers) -> float:
        return datetime.fromisoformat(self._visitor.licenses(me)[0]["expiry_date"]).timestamp()

    def invoices(self, me: Headers) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self._visitor.call("GET", "/invoices", me)["items"]
        return items


def test_a_month_brings_a_paid_renewal_and_every_process_goes_by_the_new_time(traveller: Visitor) -> None:
    buyer = Buyer(traveller)
    began = traveller.now()
    assert traveller.move_time(began + 35 * _DAY).json()["status"] == "ready"
    assert traveller.now() > began + 35 * _DAY - 2  # it is told in whole seconds
    for part in ("billing_api", "validator", "workers"):
        told = traveller.http.get(f"{traveller.facts[part]}/health/live").json()["now"]
        assert abs(told - traveller.now()) < 60
    me = buyer.sign_in()
    assert [invoice["status"] for invoice in buyer.invoices(me)] == ["paid", "paid"]
    assert buyer.license_ends(me) > traveller.now() + 20 * _DAY
    verdict = traveller.verdict(buyer.key)
    assert (verdict["code"], verdict["stale"]) == ("VALID", False)


def test_time_that_is_moved_backwards_or_by_two_at_once_is_refused(traveller: Visitor) -> None:
    before = traveller.now()
    assert traveller.move_time(before - 60).status_code == 409
    assert traveller.now() - before < 60
    with ThreadPoolExecutor(2) as pool, httpx.Client(timeout=60) as second:
        other = Visitor(traveller.facts, second)
        answers = list(pool.map(lambda one: one.move_time(before + 20 * _DAY).status_code, (traveller, other)))
    assert sorted(answers) == [200, 409]


def test_what_is_no_instant_is_refused_and_moves_nothing(traveller: Visitor, moved_stack: RunningStack) -> None:
    before = (moved_stack.data / "clock").read_bytes()
    address = f"{traveller.simulator('stripe')}/_sim/time"
    assert traveller.http.post(address, json={"to": "tomorrow"}).status_code == 400
    assert traveller.http.post(address, json={"to": 1, "by": 2}).status_code == 400
    assert traveller.http.post(address, json={"to": 10**15}).status_code == 400
    assert (moved_stack.data / "clock").read_bytes() == before


def test_a_test_clock_behind_moves_along_and_one_ahead_stays(traveller: Visitor, moved_stack: RunningStack) -> None:
    key = json.loads((moved_stack.data / "secrets.json").read_text(encoding="utf-8"))["stripe_api_key"]
    clocks = f"{traveller.simulator('stripe')}/v1/test_helpers/test_clocks"
    now, stripe = int(traveller.now()), httpx.BasicAuth(key, "")

    def clock_at(instant: int) -> str:
        made = traveller.http.post(clocks, data={"frozen_time": instant}, auth=stripe).raise_for_status().json()
        return f"{clocks}/{made['id']}"

    behind, ahead = clock_at(now - 3 * _DAY), clock_at(now + 30 * _DAY)
    assert traveller.move_time(now + 5 * _DAY).is_success
    stands = [traveller.http.get(clock, auth=stripe).json() for clock in (behind, ahead)]
    assert [clock["status"] for clock in stands] == ["ready", "ready"]
    assert stands[0]["frozen_time"] >= now + 5 * _DAY
    assert stands[1]["frozen_time"] == now + 30 * _DAY


def test_a_step_that_does_not_settle_tells_what_is_left_and_the_next_mover_goes_on(
    traveller: Visitor, moved_stack: RunningStack
) -> None:
    """Half a minute, for that is how long a step may take."""
    began = traveller.now()
    workers = moved_stack.pids("workers")
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    try:
        answer = traveller.move_time(began + 3 * _DAY)
    finally:
        for pid in workers:
            os.kill(pid, signal.SIGCONT)
    assert (answer.status_code, answer.json()["due"]) == (504, {"workers": 1})
    assert traveller.now() < began + 2 * _DAY
    assert traveller.move_time(began + 3 * _DAY).is_success


def test_after_the_workers_were_killed_in_the_middle_of_a_move_it_arrives_all_the_same(
    traveller: Visitor, moved_stack: RunningStack
) -> None:
    buyer = Buyer(traveller)
    began, before = traveller.now(), moved_stack.pids("workers")
    with ThreadPoolExecutor(1) as pool:
        moving = pool.submit(traveller.move_time, began + 65 * _DAY)
        with httpx.Client(timeout=15) as http:
            watcher = f"{traveller.simulator('stripe')}/_sim/time"
            eventually("the second month", lambda: http.get(watcher).json()["now"] > began + 31 * _DAY, 60)
        moved_stack.kill("workers")
        assert moving.result().json()["status"] == "ready"
    assert moved_stack.restarted("workers", before)
    me = buyer.sign_in()
    assert [invoice["status"] for invoice in buyer.invoices(me)] == ["paid"] * 3
    assert traveller.verdict(buyer.key)["code"] == "VALID"
    assert len(traveller.ready_mails(buyer.email)) == 1


def test_who_does_not_pay_is_told_suspended_and_ended_and_a_payment_in_between_mends_it(traveller: Visitor) -> None:
    buyer = Buyer(traveller)
    began = traveller.now()
    traveller.at_stripe(buyer.email, "card", payment_method="pm_card_chargeCustomerFail")

    def subjects() -> list[str]:
        return [mail["subject"] for mail in traveller.ready_mails(buyer.email)]

    def account() -> str:
        license_id = traveller.licenses(buyer.sign_in())[0]["id"]
        return str(traveller.accounts(license_id)[-1]["status"])

    # 1. A month and a week without payment.
    assert traveller.move_time(began + 40 * _DAY).is_success
    told = ["Your payment failed", "Your invoice is still unpaid", "Your license will be suspended"]
    assert subjects()[1:] == [*told, "Your license is suspended"]
    assert (traveller.verdict(buyer.key)["code"], account()) == ("SUSPENDED", "suspended")
    # 2. Another card, and the open invoice is paid.
    traveller.at_stripe(buyer.email, "card", payment_method="pm_card_visa")
    me = buyer.sign_in()
    subscription = traveller.call("GET", "/subscriptions", me)["items"][0]["id"]
    traveller.call("POST", f"/subscriptions/{subscription}/pay", {**me, "Idempotency-Key": "once more"})
    eventually("a valid verdict", lambda: traveller.judged(buyer.key, "VALID"))
    eventually("the account", lambda: account() == "active")
    # 3. The next month is not paid either, up to the end.
    traveller.at_stripe(buyer.email, "card", payment_method="pm_card_chargeCustomerFail")
    assert traveller.move_time(began + 95 * _DAY).is_success
    assert subjects()[5:] == [*told, "Your license is suspended", "Your license has ended"]
    assert traveller.verdict(buyer.key)["code"] == "CANCELLED"
    assert traveller.call("GET", "/subscriptions", buyer.sign_in())["items"][0]["status"] == "cancelled"
    statuses = [invoice["status"] for invoice in buyer.invoices(buyer.sign_in())]  # of a short month two are void
    assert (statuses.count("paid"), set(statuses)) == (2, {"void", "paid"})
