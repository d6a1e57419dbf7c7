"""Refunds by administrators: never more than is left, carried out once, and what becomes of the license."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pytest

from billing_api.commerce.stripe_mirror.service import Mirror, StripeObject
from db.models.identity import Role
from tests.billing_api.conftest import Buying, FakeTime
from tests.support.buyer import Buyer
from tests.support.databases import change, rows
from tests.support.errands import Errands
from tests.support.people import Desk, Headers
from tests.support.servers import DatabaseUrls
from tests.support.stripe import objects

pytestmark = pytest.mark.usefixtures("on_sale")

STARTER = 2900
WISH = {"reason": "requested_by_customer"}


class Till:
    """An administrator at a buyer's only payment."""

    def __init__(self, one: Buyer, admin: Headers, urls: DatabaseUrls, errands: Errands) -> None:
        self.one, self.admin, self.urls, self.errands = one, admin, urls, errands
        self.payment_id = ""

    async def open(self) -> "Till":
        [payment] = await rows(self.urls, "SELECT id FROM payments")
        self.payment_id = payment["id"]
        return self

    async def refund(self, key: str | None = None, **order: Any) -> httpx.Response:
        headers = self.admin | ({"Idempotency-Key": key} if key else {})
        path = f"/api/v1/admin/payments/{self.payment_id}/refund"
        return await self.one.client.post(path, json=WISH | order, headers=headers)

    async def shown(self) -> dict[str, Any]:
        path = f"/api/v1/payments/{self.payment_id}"
        body: dict[str, Any] = (await self.one.client.get(path, headers=self.one.me)).json()
        return body

    async def for_staff(self) -> dict[str, Any]:
        path = f"/api/v1/admin/payments/{self.payment_id}"
        body: dict[str, Any] = (await self.one.client.get(path, headers=self.admin)).json()
        return body

    async def at_stripe(self) -> list[int]:
        [charge] = await objects(self.one.browser, self.one.stripe, "charges", customer=self.one.customer)
        found = await objects(self.one.browser, self.one.stripe, "refunds", charge=charge["id"], limit="100")
        return [refund["amount"] for refund in reversed(found)]


@pytest.fixture
async def till(buyer: Buying, desk: Desk, database_urls: DatabaseUrls, errands: Errands) -> Till:
    return await Till(await buyer("Starter"), await desk.staff(), database_urls, errands).open()


async def test_a_part_and_then_the_rest(till: Till) -> None:
    first = await till.refund(amount=1000, license="keep", note="two days of outage")
    assert (first.status_code, first.json()["status"], first.json()["amount"]["amount"]) == (201, "pending", 1000)
    assert (await till.shown())["refunded"] == {"amount": 1000, "currency": "usd"}
    await till.errands.run()
    shown = await till.shown()
    assert (shown["status"], [one["status"] for one in shown["refunds"]]) == ("succeeded", ["succeeded"])
    assert "two days of outage" not in str(shown)
    assert (await till.for_staff())["refund_details"][0]["note"] == "two days of outage"
    rest = await till.refund(license="end")
    assert rest.json()["amount"]["amount"] == STARTER - 1000
    await till.errands.run()
    assert (await till.shown())["status"] == "refunded"
    assert (await till.one.license())["status"] == "cancelled"
    assert (await till.one.at_stripe())["status"] == "canceled"
    assert await till.at_stripe() == [1000, STARTER - 1000]
    none_left = await till.refund()
    assert (none_left.status_code, none_left.json()["code"]) == (409, "conflict")


@pytest.mark.parametrize(
    ("wish", "status", "causes"),
    [("keep", "active", []), ("suspend", "suspended", ["refunded"]), ("end", "cancelled", []), (None, "cancelled", [])],
)
async def test_the_administrator_says_what_becomes_of_the_license(
    till: Till, wish: str | None, status: str, causes: list[str]
) -> None:
    await till.refund(license=wish)
    assert (await till.one.license())["status"] == "active"  # the money is not back yet
    await till.errands.run()
    license_ = await till.one.license()
    assert (license_["status"], [one["cause"] for one in license_["suspension_causes"]]) == (status, causes)


async def test_staff_who_lift_the_suspension_are_not_overruled(till: Till, mirror: Mirror) -> None:
    await till.refund(license="suspend")
    await till.errands.run()
    path = f"/api/v1/admin/licenses/{till.one.license_id}/resume"
    await till.one.client.post(path, json={"reason": "agreed on the phone"}, headers=till.admin)
    refund = (await till.for_staff())["refund_details"][0]["stripe_refund_id"]
    await mirror.mirror(StripeObject("refund", refund, None))
    assert (await till.one.license())["status"] == "active"


async def test_a_refund_that_fails_later_lifts_its_suspension(
    buyer: Buying, desk: Desk, database_urls: DatabaseUrls, errands: Errands, mirror: Mirror
) -> None:
    one = await buyer("Starter", card="4000000000005126")
    till = await Till(one, await desk.staff(), database_urls, errands).open()
    await till.refund(license="suspend")
    await errands.run()
    assert (await one.license())["status"] == "suspended"
    refund = (await till.for_staff())["refund_details"][0]["stripe_refund_id"]
    (await one.browser.post(f"{one.stripe}/_sim/refunds/{refund}/settle")).raise_for_status()
    await mirror.mirror(StripeObject("refund", refund, None))
    shown = await till.shown()
    assert (shown["status"], shown["refunded"]["amount"]) == ("succeeded", 0)
    assert shown["refunds"][0]["failure"] == "unknown"
    assert (await one.license())["status"] == "active"


async def test_a_hundred_at_once_take_no_more_than_there_is(till: Till) -> None:
    answers = await asyncio.gather(*(till.refund(amount=100, license="keep") for _ in range(100)))
    assert sorted({answer.status_code for answer in answers}) == [201, 409]
    assert sum(answer.status_code == 201 for answer in answers) == STARTER // 100
    await till.errands.run()
    assert await till.at_stripe() == [100] * 29
    assert (await till.shown())["refunded"]["amount"] == STARTER


async def test_a_hundred_with_one_key_are_one(till: Till) -> None:
    answers = await asyncio.gather(*(till.refund(key="ticket-93", amount=100) for _ in range(100)))
    done = [answer for answer in answers if answer.status_code == 201]
    assert len({answer.json()["id"] for answer in done}) == 1
    assert {answer.status_code for answer in answers} <= {201, 409}
    await till.errands.run()
    assert await till.at_stripe() == [100]
    other = await till.refund(key="ticket-93", amount=200)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")


@pytest.mark.parametrize(
    ("order", "status"),
    [
        ({"amount": 0}, 400),
        ({"amount": -1}, 400),
        ({"amount": 10.5}, 400),
        ({"amount": "100"}, 400),
        ({"amount": 10**30}, 400),
        ({"amount": STARTER + 1}, 422),
        ({"reason": "because"}, 400),
        ({"license": "burn"}, 400),
        ({"currency": "eur"}, 400),
    ],
)
async def test_bad_orders_change_nothing(till: Till, order: dict[str, Any], status: int) -> None:
    answer = await till.refund(**order)
    assert answer.status_code == status, answer.text
    if status == 422:
        [error] = answer.json()["errors"]
        assert (error["field"], error["code"], error["params"]) == ("amount", "too_large", {"max": STARTER})
    assert await rows(till.urls, "SELECT 1 FROM refunds") == []


async def test_it_takes_an_administrator_and_a_step_up(till: Till, desk: Desk, clock: FakeTime) -> None:
    till.admin = await desk.staff(Role.SUPPORT)
    assert (await till.refund()).status_code == 403
    till.admin = await desk.staff()
    path = f"/api/v1/admin/payments/{'0' * 32}/refund"
    assert (await till.one.client.post(path, json=WISH, headers=till.admin)).status_code == 404
    clock.now += timedelta(minutes=6)
    late = await till.refund()
    assert (late.status_code, late.json()["code"]) == (403, "step_up_required")


async def test_a_failed_payment_has_nothing_to_refund(till: Till) -> None:
    await change(till.urls, "UPDATE payments SET status = 'failed'")
    answer = await till.refund()
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


async def test_a_disputed_payment_is_not_refunded(till: Till, mirror: Mirror) -> None:
    [charge] = await objects(till.one.browser, till.one.stripe, "charges", customer=till.one.customer)
    made = await till.one.browser.post(f"{till.one.stripe}/_sim/disputes", json={"charge": charge["id"]})
    await mirror.mirror(StripeObject("dispute", made.json()["id"], None))
    answer = await till.refund()
    assert (answer.status_code, answer.json()["code"]) == (409, "payment_disputed")


async def test_what_stripe_refuses_is_told_and_counts_as_not_given_back(till: Till, mirror: Mirror) -> None:
    """The dispute came while the refund was on its way: nobody had mirrored it yet."""
    [charge] = await objects(till.one.browser, till.one.stripe, "charges", customer=till.one.customer)
    await till.refund(license="end")
    (await till.one.browser.post(f"{till.one.stripe}/_sim/disputes", json={"charge": charge["id"]})).raise_for_status()
    await till.errands.run()
    shown = await till.shown()
    assert (shown["status"], shown["refunded"]["amount"]) == ("succeeded", 0)
    assert [(one["status"], one["failure"]) for one in shown["refunds"]] == [("failed", "charge_disputed")]
    assert (await till.one.license())["status"] == "active"
    told = await rows(till.urls, "SELECT 1 FROM audit_log WHERE action = 'refund.refused'")
    assert len(told) == 1


@pytest.mark.parametrize("dies", ["before the call", "after the call", "after the answer", "after the mirror"])
async def test_a_worker_that_dies_at_any_step_refunds_once(till: Till, mirror: Mirror, dies: str) -> None:
    """A process that is killed leaves what it had committed, and its job, which is performed again."""
    await till.refund(license="end")
    [job] = await till.errands.waiting()
    paths = {"before the call": ("drop", "/v1/refunds"), "after the call": ("drop_after_effect", "/v1/refunds")}
    paths["after the answer"] = ("drop", "/v1/charges/*")  # the refund's id is stored, and the mirror fails
    if dies in paths:
        kind, path = paths[dies]
        fault = {"kind": kind, "path": path, "times": 3}
        (await till.one.browser.post(f"{till.one.stripe}/_sim/faults", json=fault)).raise_for_status()
    await till.errands.attempt(job)
    (await till.one.browser.delete(f"{till.one.stripe}/_sim/faults")).raise_for_status()
    await change(till.urls, "UPDATE outbox SET done_at = NULL, last_error = NULL WHERE id = :id", id=job)
    await till.errands.attempt(job)
    await till.errands.run()
    assert await till.at_stripe() == [STARTER]
    assert (await till.shown())["status"] == "refunded"
    assert (await till.one.license())["status"] == "cancelled"
    acts = await rows(
        till.urls, "SELECT action FROM audit_log WHERE action IN ('payment.refunded', 'license.cancelled')"
    )
    assert sorted(row["action"] for row in acts) == ["license.cancelled", "payment.refunded"]
    assert len(await rows(till.urls, "SELECT 1 FROM mails WHERE template = 'refund_made'")) == 1


@pytest.mark.parametrize("path", ["/v1/subscriptions/*", "/v1/invoices*"])
@pytest.mark.parametrize("kind", ["drop", "drop_after_effect"])
async def test_a_worker_that_dies_while_it_ends_the_subscription_ends_it_once(till: Till, kind: str, path: str) -> None:
    await till.one.use_card("pm_card_chargeCustomerFail")
    await till.one.later(2 * 24 * 3600)  # the renewal's invoice is open
    await till.refund(license="end")
    [job] = await till.errands.waiting()
    await till.errands.attempt(job)
    [job] = await till.errands.waiting()
    fault = {"kind": kind, "path": path, "times": 3}
    (await till.one.browser.post(f"{till.one.stripe}/_sim/faults", json=fault)).raise_for_status()
    await till.errands.attempt(job)
    (await till.one.browser.delete(f"{till.one.stripe}/_sim/faults")).raise_for_status()
    await till.errands.attempt(job)
    assert (await till.one.at_stripe())["status"] == "canceled"
    assert [status for _, status, _ in await till.one.invoices()] == ["void", "paid"]
    assert (await till.one.subscription())["status"] == "cancelled"
