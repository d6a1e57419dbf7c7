"""Disputes, refunds that are settled later, and collection that is paused, as Stripe documents them."""

from typing import Any

import pytest
import stripe

from tests.devstack.simulators.stripe.shop import Shop, kinds, wire

DAY = 24 * 3600


def a_charge(shop: Shop, card: str = "pm_card_visa") -> tuple[str, str]:
    """Of a subscription bought with the card: the charge, and the subscription."""
    subscription = shop.subscription(customer=shop.customer(card).id)
    charges = wire(shop.v1.charges.list({"customer": str(subscription.customer)}))["data"]
    return charges[0]["id"], subscription.id


def dispute_of(shop: Shop, charge: str) -> dict[str, Any]:
    found: dict[str, Any] = wire(shop.v1.disputes.list({"charge": charge}))["data"][0]
    return found


def test_a_chargeback_takes_the_money_and_a_won_one_gives_it_back(shop: Shop) -> None:
    before = shop.last_event()
    charge, _ = a_charge(shop, "pm_card_createDispute")
    dispute = dispute_of(shop, charge)
    assert (dispute["status"], dispute["reason"], dispute["amount"]) == ("needs_response", "fraudulent", 9900)
    assert wire(shop.v1.charges.retrieve(charge))["disputed"] is True
    told = [kind for kind in kinds(shop.events(before)) if kind.startswith("charge.dispute")]
    assert told == ["charge.dispute.created", "charge.dispute.funds_withdrawn"]
    before = shop.last_event()
    shop.v1.disputes.update(dispute["id"], {"evidence": {"uncategorized_text": "winning_evidence"}})
    assert kinds(shop.events(before)) == [
        "charge.dispute.updated",
        "charge.dispute.closed",
        "charge.dispute.funds_reinstated",
    ]
    won = dispute_of(shop, charge)
    assert (won["status"], [one["amount"] for one in won["balance_transactions"]]) == ("won", [-9900, 9900])


@pytest.mark.parametrize("how", ["evidence", "close", "bank"])
def test_a_dispute_is_lost_by_evidence_by_giving_up_or_by_the_bank(shop: Shop, how: str) -> None:
    charge, _ = a_charge(shop, "pm_card_createDisputeProductNotReceived")
    dispute = dispute_of(shop, charge)
    assert dispute["reason"] == "product_not_received"
    match how:
        case "evidence":
            shop.v1.disputes.update(dispute["id"], {"evidence": {"uncategorized_text": "losing_evidence"}})
        case "close":
            shop.v1.disputes.close(dispute["id"])
        case _:
            shop.http.post(f"/_sim/disputes/{dispute['id']}", json={"outcome": "lost"}).raise_for_status()
    assert dispute_of(shop, charge)["status"] == "lost"
    with pytest.raises(stripe.InvalidRequestError, match="takes no evidence"):
        shop.v1.disputes.update(dispute["id"], {"evidence": {"uncategorized_text": "winning_evidence"}})


def test_a_charge_in_a_chargeback_is_not_refunded(shop: Shop) -> None:
    charge, _ = a_charge(shop, "pm_card_createDispute")
    with pytest.raises(stripe.InvalidRequestError) as refused:
        shop.v1.refunds.create({"charge": charge})
    assert refused.value.code == "charge_disputed"


def test_an_inquiry_takes_nothing_and_ends_with_a_refund(shop: Shop) -> None:
    charge, _ = a_charge(shop, "pm_card_createDisputeInquiry")
    dispute = dispute_of(shop, charge)
    assert (dispute["status"], dispute["balance_transactions"]) == ("warning_needs_response", [])
    shop.v1.refunds.create({"charge": charge})
    assert dispute_of(shop, charge)["status"] == "warning_closed"


def test_an_inquiry_may_become_a_chargeback(shop: Shop) -> None:
    charge, _ = a_charge(shop, "pm_card_createDisputeInquiry")
    words: Any = {"evidence": {"uncategorized_text": "escalate_inquiry_evidence"}}
    shop.v1.disputes.update(dispute_of(shop, charge)["id"], words)
    dispute = dispute_of(shop, charge)
    assert (dispute["status"], len(dispute["balance_transactions"])) == ("needs_response", 1)


def test_a_prevented_dispute_has_no_money_in_it(shop: Shop) -> None:
    charge, _ = a_charge(shop)
    shop.http.post("/_sim/disputes", json={"charge": charge, "kind": "prevented"}).raise_for_status()
    dispute = dispute_of(shop, charge)
    assert (dispute["status"], dispute["balance_transactions"]) == ("prevented", [])


def test_evidence_may_be_kept_and_submitted_later_once(shop: Shop) -> None:
    charge, _ = a_charge(shop, "pm_card_createDispute")
    dispute_id = dispute_of(shop, charge)["id"]
    shop.v1.disputes.update(dispute_id, {"evidence": {"product_description": "a panel"}, "submit": False})
    assert dispute_of(shop, charge)["status"] == "needs_response"
    shop.v1.disputes.update(dispute_id, {"evidence": {"customer_name": "A Buyer"}})
    kept = dispute_of(shop, charge)
    assert (kept["status"], kept["evidence"]["product_description"]) == ("under_review", "a panel")
    with pytest.raises(stripe.InvalidRequestError, match="submitted already"):
        shop.v1.disputes.update(dispute_id, {"evidence": {"customer_name": "B"}})


def test_a_refund_that_is_pending_arrives(shop: Shop) -> None:
    charge, _ = a_charge(shop, "pm_card_pendingRefund")
    refund = shop.v1.refunds.create({"charge": charge, "amount": 1000})
    assert (refund.status, shop.v1.charges.retrieve(charge).amount_refunded) == ("pending", 1000)
    before = shop.last_event()
    shop.http.post(f"/_sim/refunds/{refund.id}/settle").raise_for_status()
    assert kinds(shop.events(before)) == ["refund.updated", "charge.refund.updated"]
    assert shop.v1.refunds.retrieve(refund.id).status == "succeeded"


def test_a_refund_that_fails_later_gives_the_charge_its_money_again(shop: Shop) -> None:
    charge, _ = a_charge(shop, "pm_card_refundFail")
    refund = shop.v1.refunds.create({"charge": charge})
    assert (refund.status, shop.v1.charges.retrieve(charge).refunded) == ("succeeded", True)
    before = shop.last_event()
    shop.http.post(f"/_sim/refunds/{refund.id}/settle").raise_for_status()
    assert kinds(shop.events(before))[-1] == "refund.failed"
    after = shop.v1.charges.retrieve(charge)
    assert (shop.v1.refunds.retrieve(refund.id).status, after.refunded, after.amount_refunded) == ("failed", False, 0)
    assert shop.http.post(f"/_sim/refunds/{refund.id}/settle").status_code == 400


def pass_period(shop: Shop, subscription_id: str, seconds: int) -> None:
    customer = str(shop.v1.subscriptions.retrieve(subscription_id).customer)
    moved = shop.http.post(f"/_sim/customers/{customer}/test_clock", json={"after_period": seconds})
    assert moved.status_code == 200, moved.text


def latest(shop: Shop, subscription_id: str) -> tuple[str, str]:
    invoice = wire(shop.v1.invoices.list({"subscription": subscription_id, "limit": 1}))["data"][0]
    return invoice["billing_reason"], invoice["status"]


@pytest.mark.parametrize(
    ("behavior", "status"), [("keep_as_draft", "draft"), ("void", "void"), ("mark_uncollectible", "uncollectible")]
)
def test_a_renewal_while_collection_is_paused_charges_nothing(shop: Shop, behavior: Any, status: str) -> None:
    charge, subscription_id = a_charge(shop)
    shop.v1.subscriptions.update(subscription_id, {"pause_collection": {"behavior": behavior}})
    pass_period(shop, subscription_id, 2 * DAY)
    assert latest(shop, subscription_id) == ("subscription_cycle", status)
    assert shop.v1.subscriptions.retrieve(subscription_id).status == "active"
    taken = wire(shop.v1.charges.list({"customer": str(shop.v1.charges.retrieve(charge).customer)}))["data"]
    assert len(taken) == 1


def test_a_draft_that_was_kept_is_collected_once_it_may_advance(shop: Shop) -> None:
    _, subscription_id = a_charge(shop)
    shop.v1.subscriptions.update(subscription_id, {"pause_collection": {"behavior": "keep_as_draft"}})
    pass_period(shop, subscription_id, DAY)
    shop.v1.subscriptions.update(subscription_id, {"pause_collection": ""})
    draft = shop.v1.invoices.list({"subscription": subscription_id, "limit": 1}).data[0]
    shop.v1.invoices.update(str(draft.id), {"auto_advance": True})
    pass_period(shop, subscription_id, -DAY)
    assert shop.v1.invoices.retrieve(str(draft.id)).status == "paid"


def test_a_pause_ends_when_it_says_so(shop: Shop) -> None:
    _, subscription_id = a_charge(shop)
    end = wire(shop.v1.subscriptions.retrieve(subscription_id))["items"]["data"][0]["current_period_end"]
    pause: Any = {"pause_collection": {"behavior": "void", "resumes_at": end - DAY}}
    shop.v1.subscriptions.update(subscription_id, pause)
    pass_period(shop, subscription_id, 2 * 3600)
    assert latest(shop, subscription_id) == ("subscription_cycle", "paid")
