"""Refunds and disputes: what they do to payment, license and subscription, whatever tells of them, and once."""

import itertools
import random
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import pytest

from billing_api.commerce.stripe_mirror.service import Mirror, StripeObject
from billing_api.operations.webhooks.service import subject_of
from core import billing_policy
from tests.billing_api.conftest import Buying, Client
from tests.support.buyer import Buyer, at_once
from tests.support.databases import change, rows
from tests.support.errands import Errands
from tests.support.people import Desk
from tests.support.servers import DatabaseUrls
from tests.support.stripe import objects

pytestmark = pytest.mark.usefixtures("on_sale")

CHARGEBACK, INQUIRY = "4000000000000259", "4000000000001976"
REFUND_LATER, REFUND_FAILS = "4000000000007726", "4000000000005126"
STARTER = 2900


DEFAULT = msgspec.to_builtins(billing_policy.DEFAULT)


async def set_policy(client: Client, desk: Desk, **changes: str) -> None:
    answer = await client.put("/api/v1/admin/settings/billing", json=DEFAULT | changes, headers=await desk.staff())
    assert answer.status_code == 200, answer.text


class Books:
    """One buyer's money, at Stripe and here."""

    def __init__(self, buyer: Buyer, mirror: Mirror, urls: DatabaseUrls, errands: Errands) -> None:
        self.buyer, self.mirror, self.urls, self.errands = buyer, mirror, urls, errands

    async def charge(self) -> dict[str, Any]:
        return (await objects(self.buyer.browser, self.buyer.stripe, "charges", customer=self.buyer.customer))[0]

    async def refund(self, **form: Any) -> dict[str, Any]:
        """Made at Stripe, as in its dashboard."""
        return await self.buyer.ask_stripe("POST", "refunds", charge=(await self.charge())["id"], **form)

    async def dispute(self, kind: str = "chargeback") -> dict[str, Any]:
        path = f"{self.buyer.stripe}/_sim/disputes"
        answer = await self.buyer.browser.post(path, json={"charge": (await self.charge())["id"], "kind": kind})
        assert answer.status_code == 200, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def bank(self, dispute_id: str, outcome: str) -> None:
        path = f"{self.buyer.stripe}/_sim/disputes/{dispute_id}"
        answer = await self.buyer.browser.post(path, json={"outcome": outcome})
        assert answer.status_code == 200, answer.text

    async def settle(self, refund_id: str) -> None:
        answer = await self.buyer.browser.post(f"{self.buyer.stripe}/_sim/refunds/{refund_id}/settle")
        assert answer.status_code == 200, answer.text

    async def told(self, kind: Any, object_id: str) -> None:
        await self.mirror.mirror(StripeObject(kind, object_id, None))

    async def carried_out(self) -> None:
        await self.errands.run()
        await self.buyer.told()

    async def standing(self) -> tuple[str, str, int, list[str]]:
        """License, payment, what went back, and the open causes."""
        [payment] = await rows(self.urls, "SELECT status, refunded FROM payments")
        license_ = await self.buyer.license()
        causes = [one["cause"] for one in license_["suspension_causes"]]
        return license_["status"], payment["status"], payment["refunded"], causes

    async def mails(self) -> list[str]:
        found = await rows(
            self.urls, "SELECT template FROM mails WHERE template <> 'license_ready' ORDER BY created_at"
        )
        return [row["template"] for row in found]


Opening = Callable[..., Coroutine[Any, Any, Books]]


@pytest.fixture
def books(buyer: Buying, mirror: Mirror, database_urls: DatabaseUrls, errands: Errands) -> Opening:
    async def opened(card: str = "4242424242424242", **order: Any) -> Books:
        return Books(await buyer("Starter", card=card, **order), mirror, database_urls, errands)

    return opened


async def test_a_part_keeps_the_license_and_the_rest_ends_it(books: Opening) -> None:
    """Case: refund 1000 at Stripe, then the rest."""
    one = await books()
    first = await one.refund(amount=1000)
    await one.told("refund", first["id"])
    assert await one.standing() == ("active", "succeeded", 1000, [])
    await one.refund()
    await one.told("charge", (await one.charge())["id"])
    assert await one.standing() == ("cancelled", "refunded", STARTER, [])
    await one.carried_out()
    assert (await one.buyer.at_stripe())["status"] == "canceled"
    assert (await one.buyer.subscription())["status"] == "cancelled"
    assert await one.buyer.invoices() == [("subscription_create", "paid", STARTER)]  # no last invoice
    assert await one.mails() == ["refund_made", "refund_made"]


@pytest.mark.parametrize(
    ("policy", "amount", "license_"),
    [
        ("never", STARTER, "active"),
        ("full", 1000, "active"),
        ("full", STARTER, "cancelled"),
        ("any", 1000, "cancelled"),
    ],
)
async def test_the_policy_says_what_a_refund_at_stripe_does(
    books: Opening, client: Client, desk: Desk, policy: str, amount: int, license_: str
) -> None:
    one = await books()
    await set_policy(client, desk, refund_ends_license=policy)
    await one.told("refund", (await one.refund(amount=amount))["id"])
    assert (await one.standing())[0] == license_


async def test_a_refund_that_is_pending_is_not_back_yet(books: Opening) -> None:
    one = await books(REFUND_LATER)
    refund = await one.refund()
    await one.told("refund", refund["id"])
    assert await one.standing() == ("active", "succeeded", STARTER, [])
    assert await one.mails() == []
    await one.settle(refund["id"])
    await one.told("refund", refund["id"])
    assert await one.standing() == ("cancelled", "refunded", STARTER, [])
    assert await one.mails() == ["refund_made"]


async def test_a_refund_that_fails_later_is_undone(
    books: Opening, client: Client, desk: Desk, database_urls: DatabaseUrls
) -> None:
    one = await books(REFUND_FAILS)
    await set_policy(client, desk, refund_ends_license="never")
    refund = await one.refund()
    await one.told("refund", refund["id"])
    assert await one.standing() == ("active", "refunded", STARTER, [])
    await one.settle(refund["id"])
    await one.told("refund", refund["id"])
    assert await one.standing() == ("active", "succeeded", 0, [])
    [told] = await rows(database_urls, "SELECT detail FROM audit_log WHERE action = 'refund.failed'")
    assert told["detail"]["failure"] == "unknown"
    await one.refund(amount=STARTER)  # there is something left to refund again


async def test_a_dispute_suspends_and_a_won_one_restores(books: Opening) -> None:
    one = await books()
    dispute = await one.dispute()
    await one.told("dispute", dispute["id"])
    assert await one.standing() == ("suspended", "succeeded", 0, ["disputed"])
    await one.carried_out()
    assert (await one.buyer.at_stripe())["pause_collection"]["behavior"] == "keep_as_draft"
    await one.bank(dispute["id"], "won")
    await one.told("dispute", dispute["id"])
    assert await one.standing() == ("active", "succeeded", 0, [])
    await one.carried_out()
    assert (await one.buyer.at_stripe())["pause_collection"] is None


async def test_a_lost_dispute_is_a_refund_and_ends_both(books: Opening) -> None:
    one = await books()
    dispute = await one.dispute()
    await one.told("dispute", dispute["id"])
    await one.bank(dispute["id"], "lost")
    await one.told("dispute", dispute["id"])
    assert await one.standing() == ("cancelled", "refunded", STARTER, [])
    await one.carried_out()
    assert (await one.buyer.at_stripe())["status"] == "canceled"


@pytest.mark.parametrize(("policy", "license_"), [("keep", "active"), ("end", "cancelled")])
async def test_the_policy_says_what_a_dispute_does(
    books: Opening, client: Client, desk: Desk, policy: str, license_: str
) -> None:
    one = await books()
    await set_policy(client, desk, dispute=policy)
    dispute = await one.dispute()
    await one.told("dispute", dispute["id"])
    assert (await one.standing())[0] == license_
    await one.carried_out()
    at_stripe = await one.buyer.at_stripe()
    assert (at_stripe["status"] == "canceled") == (policy == "end")
    assert (at_stripe["pause_collection"] is not None) == (policy == "keep")
    await one.bank(dispute["id"], "won")
    await one.told("dispute", dispute["id"])
    assert (await one.standing())[0] == license_  # what it ended stays ended


async def test_a_payment_does_not_lift_a_dispute(books: Opening) -> None:
    one = await books()
    await one.told("dispute", (await one.dispute())["id"])
    await one.buyer.told()  # its present period is paid
    assert await one.standing() == ("suspended", "succeeded", 0, ["disputed"])


@pytest.mark.parametrize("kind", ["inquiry", "prevented"])
async def test_what_is_no_chargeback_is_told_to_staff_and_changes_nothing(
    books: Opening, database_urls: DatabaseUrls, kind: str
) -> None:
    one = await books()
    dispute = await one.dispute(kind)
    for _ in range(2):
        await one.told("dispute", dispute["id"])
    assert await one.standing() == ("active", "succeeded", 0, [])
    assert await one.errands.waiting() == []
    told = await rows(database_urls, "SELECT detail FROM audit_log WHERE action LIKE 'dispute.%'")
    assert len(told) == 1


async def test_an_inquiry_that_becomes_a_chargeback_suspends(books: Opening) -> None:
    one = await books(INQUIRY)
    [dispute] = await objects(one.buyer.browser, one.buyer.stripe, "disputes", charge=(await one.charge())["id"])
    await one.told("dispute", dispute["id"])
    assert (await one.standing())[0] == "active"
    form = {"evidence[uncategorized_text]": "escalate_inquiry_evidence"}
    await one.buyer.ask_stripe("POST", f"disputes/{dispute['id']}", **form)
    await one.told("dispute", dispute["id"])
    assert (await one.standing())[0] == "suspended"


async def test_a_renewal_while_disputed_is_collected_once_it_is_won(books: Opening) -> None:
    one = await books()
    dispute = await one.dispute()
    await one.told("dispute", dispute["id"])
    await one.carried_out()
    await one.buyer.later(2 * 24 * 3600)
    assert await one.buyer.invoices() == [
        ("subscription_cycle", "draft", STARTER),
        ("subscription_create", "paid", STARTER),
    ]
    await one.bank(dispute["id"], "won")
    await one.told("dispute", dispute["id"])
    await one.carried_out()
    await one.buyer.later(-24 * 3600)
    assert (await one.buyer.invoices())[0] == ("subscription_cycle", "paid", STARTER)
    await one.buyer.told()
    assert (await one.buyer.license())["status"] == "active"


async def test_periods_that_passed_while_it_was_suspended_are_not_charged(books: Opening) -> None:
    one = await books()
    dispute = await one.dispute()
    await one.told("dispute", dispute["id"])
    await one.carried_out()
    for _ in range(2):
        await one.buyer.later(2 * 24 * 3600)
    await one.bank(dispute["id"], "won")
    await one.told("dispute", dispute["id"])
    await one.carried_out()
    assert [status for _, status, _ in await one.buyer.invoices()] == ["draft", "void", "paid"]


async def test_a_dispute_that_comes_before_anything_else_grants_and_suspends(
    books: Opening, database_urls: DatabaseUrls, mirror: Mirror
) -> None:
    """In test mode the dispute may come before the payment: the purchase is mirrored from its charge."""
    one = await books(CHARGEBACK)  # the return page has mirrored the purchase; the dispute's events say the rest
    events = await objects(one.buyer.browser, one.buyer.stripe, "events", limit="100")
    charge = (await one.charge())["id"]
    subjects = [subject_of(event) for event in events if event["data"]["object"].get("charge") == charge]
    for subject in [subject for subject in subjects if subject is not None]:
        await mirror.mirror(subject)
    assert await one.standing() == ("suspended", "succeeded", 0, ["disputed"])


async def every_event(one: Books) -> list[StripeObject]:
    events = await objects(one.buyer.browser, one.buyer.stripe, "events", limit="100")
    mine = [event for event in events if one.buyer.customer in str(event) or (await one.charge())["id"] in str(event)]
    return [subject for event in reversed(mine) if (subject := subject_of(event)) is not None]


@pytest.mark.parametrize("seed", range(3))
async def test_events_in_any_order_and_doubled_leave_the_same_rows(
    books: Opening, database_urls: DatabaseUrls, mirror: Mirror, seed: int
) -> None:
    one = await books()
    await one.refund(amount=1000)
    dispute = await one.dispute()
    await one.bank(dispute["id"], "lost")
    subjects = await every_event(one) * 2
    random.Random(seed).shuffle(subjects)
    for subject in subjects:
        await mirror.mirror(subject)
    assert await one.standing() == ("cancelled", "refunded", STARTER, [])
    refunds = await rows(database_urls, "SELECT amount, status FROM refunds")
    disputes = await rows(database_urls, "SELECT amount, status FROM disputes")
    assert [tuple(row.values()) for row in refunds] == [(1000, "succeeded")]
    assert [tuple(row.values()) for row in disputes] == [(STARTER - 1000, "lost")]
    acts = await rows(database_urls, "SELECT action FROM audit_log WHERE action LIKE 'dispute.%' ORDER BY id")
    assert [row["action"] for row in acts] == ["dispute.received", "dispute.lost"]
    assert len(await one.errands.waiting()) == 1
    assert await one.mails() == ["refund_made"]


@pytest.mark.parametrize("missing", ["refund", "charge", "dispute"])
async def test_each_kind_of_event_alone_tells_it_all(books: Opening, mirror: Mirror, missing: str) -> None:
    one = await books()
    await one.refund(amount=1000)
    await one.dispute()
    for kind, subjects in itertools.groupby(await every_event(one), key=lambda subject: subject.kind):
        for subject in subjects if kind == missing else ():
            await mirror.mirror(subject)
    assert await one.standing() == ("suspended", "succeeded", 1000, ["disputed"])


async def test_all_at_once_it_is_one_refund(books: Opening, database_urls: DatabaseUrls, mirror: Mirror) -> None:
    one = await books()
    await one.refund()
    await at_once(mirror, await every_event(one))
    for subject in await every_event(one):
        await mirror.mirror(subject)
    assert len(await rows(database_urls, "SELECT 1 FROM refunds")) == 1
    assert await one.standing() == ("cancelled", "refunded", STARTER, [])


async def test_charges_of_others_are_ignored(mirror: Mirror, database_urls: DatabaseUrls) -> None:
    for kind in ("charge", "refund", "dispute"):
        await mirror.mirror(StripeObject(kind, "xx_unknown", None))
    assert await rows(database_urls, "SELECT 1 FROM payments") == []


async def test_money_of_a_former_term_says_nothing_about_a_license_that_was_bought_again(
    books: Opening, database_urls: DatabaseUrls
) -> None:
    one = await books()
    await one.buyer.ask_stripe("DELETE", f"subscriptions/{one.buyer.stripe_id}")
    await one.buyer.told()
    await change(database_urls, "UPDATE licenses SET status = 'active'")
    again = "gen_random_uuid(), 'sub_again', 'active', NULL"
    same = "user_id, license_id, plan_id, interval, current_period_start, current_period_end, cancel_at_period_end"
    await change(
        database_urls,
        f"INSERT INTO subscriptions (id, stripe_subscription_id, status, ended_at, {same}, plan_paid_until)"
        f" SELECT {again}, {same}, plan_paid_until FROM subscriptions",
    )
    await one.told("refund", (await one.refund())["id"])
    assert await one.standing() == ("active", "refunded", STARTER, [])
    assert await one.errands.waiting() == []


async def test_more_refunds_than_a_page_of_stripe_holds_are_all_counted(
    books: Opening, database_urls: DatabaseUrls
) -> None:
    one = await books()
    made = [await one.refund(amount=20) for _ in range(103)]
    await one.told("refund", made[0]["id"])
    assert await one.standing() == ("active", "succeeded", 2060, [])
    assert len(await rows(database_urls, "SELECT 1 FROM refunds")) == 103


@pytest.mark.parametrize("kind", ["drop", "drop_after_effect"])
@pytest.mark.parametrize("outcome", ["open", "won"])
async def test_a_worker_that_dies_while_it_pauses_or_resumes_does_it_again(
    books: Opening, kind: str, outcome: str
) -> None:
    one = await books()
    dispute = await one.dispute()
    await one.told("dispute", dispute["id"])
    if outcome == "won":
        await one.carried_out()
        await one.bank(dispute["id"], "won")
        await one.told("dispute", dispute["id"])
    [job] = await one.errands.waiting()
    fault = {"kind": kind, "method": "POST", "path": "/v1/subscriptions/*", "times": 3}
    (await one.buyer.browser.post(f"{one.buyer.stripe}/_sim/faults", json=fault)).raise_for_status()
    await one.errands.attempt(job)
    (await one.buyer.browser.delete(f"{one.buyer.stripe}/_sim/faults")).raise_for_status()
    await one.errands.attempt(job)
    assert await one.errands.waiting() == []
    assert ((await one.buyer.at_stripe())["pause_collection"] is None) == (outcome == "won")


async def test_all_licenses_of_a_subscription_are_suspended_come_back_and_end_together(books: Opening) -> None:
    one = await books(quantity=3)

    async def statuses() -> list[str]:
        return [row["status"] for row in await rows(one.urls, "SELECT status FROM licenses")]

    dispute = await one.dispute()
    await one.told("dispute", dispute["id"])
    assert await statuses() == ["suspended"] * 3
    await one.bank(dispute["id"], "won")
    await one.told("dispute", dispute["id"])
    assert await statuses() == ["active"] * 3
    refund = await one.refund()
    await one.told("refund", refund["id"])
    await one.carried_out()
    assert await statuses() == ["cancelled"] * 3
