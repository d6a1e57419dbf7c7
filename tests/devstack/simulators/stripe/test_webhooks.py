"""Deliveries: signed, in order, repeated until they are taken; and the ways in which they may go wrong on request."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import stripe

from core.clock import unix_time
from tests.devstack.simulators.conftest import Start
from tests.devstack.simulators.running import Simulator, eventually
from tests.devstack.simulators.stripe.receiver import Receiver
from tests.devstack.simulators.stripe.shop import API_KEY, Shop

SECRET = "whsec_of_the_command_line"


@pytest.fixture
def listening(shop: Shop, receiver: Receiver) -> Iterator[stripe.WebhookEndpoint]:
    """An endpoint of the shared simulator for this test alone."""
    endpoint = shop.v1.webhook_endpoints.create(
        {"url": receiver.url, "enabled_events": ["customer.created"], "api_version": "2026-10-28.endive"}
    )
    yield endpoint
    shop.v1.webhook_endpoints.delete(endpoint.id)
    shop.http.delete("/_sim/webhooks")


def modes(shop: Shop, **wanted: Any) -> None:
    assert shop.http.post("/_sim/webhooks", json=wanted).status_code == 200


def deliveries(simulator: Simulator, event_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = simulator.http.get("/_sim/deliveries", params={"event": event_id}).json()["items"]
    return found


def test_the_sdk_accepts_the_signature(shop: Shop, receiver: Receiver, listening: stripe.WebhookEndpoint) -> None:
    customer = shop.customer()
    (arrival,) = receiver.wait_for(1)
    secret = str(listening.secret)
    assert stripe.WebhookSignature.verify_header(arrival.body, arrival.signature, secret, 300)
    event = shop.client.construct_event(arrival.body, arrival.signature, secret)
    assert (event.type, event.api_version, event.data.object["id"]) == (
        "customer.created",
        "2026-10-28.endive",
        customer.id,
    )
    assert event.to_dict()["pending_webhooks"] == 1
    for wrong in (arrival.signature.replace("v1=", "v1=0"), arrival.signature.replace("v1=", "v2=")):
        with pytest.raises(stripe.SignatureVerificationError):
            stripe.WebhookSignature.verify_header(arrival.body, wrong, secret, 300)


def test_only_wanted_kinds_arrive_and_in_order(
    shop: Shop, receiver: Receiver, listening: stripe.WebhookEndpoint
) -> None:
    made = [shop.customer("pm_card_visa").id for _ in range(5)]
    arrivals = receiver.wait_for(5)
    assert [arrival.event["data"]["object"]["id"] for arrival in arrivals] == made
    assert set(receiver.kinds()) == {"customer.created"}


def test_it_is_sent_until_it_is_taken(shop: Shop, receiver: Receiver, listening: stripe.WebhookEndpoint) -> None:
    receiver.answers.extend([500, 302, 400])
    shop.customer()
    arrivals = receiver.wait_for(4)
    assert len({arrival.event["id"] for arrival in arrivals}) == 1
    (delivery,) = eventually(
        lambda: [one for one in deliveries(shop.simulator, arrivals[0].event["id"]) if one["state"] == "delivered"]
    )
    assert [attempt["status"] for attempt in delivery["attempts"]] == [500, 302, 400, 200]
    first, second, third, _ = [attempt["at"] for attempt in delivery["attempts"]]
    assert second - first >= 0.19
    assert third - second >= 0.39


def test_a_failing_event_does_not_hold_up_the_others(
    shop: Shop, receiver: Receiver, listening: stripe.WebhookEndpoint
) -> None:
    receiver.answers.append(500)
    late, prompt = shop.customer().id, shop.customer().id
    arrivals = receiver.wait_for(3)
    assert [arrival.event["data"]["object"]["id"] for arrival in arrivals] == [late, prompt, late]


def test_copies(shop: Shop, receiver: Receiver, listening: stripe.WebhookEndpoint) -> None:
    modes(shop, duplicate=2)
    shop.customer()
    assert len({arrival.event["id"] for arrival in receiver.wait_for(3)}) == 1


def test_a_shuffle(shop: Shop, receiver: Receiver, listening: stripe.WebhookEndpoint) -> None:
    modes(shop, reorder=True, seed=4)
    made = [shop.customer().id for _ in range(6)]
    arrived = [arrival.event["data"]["object"]["id"] for arrival in receiver.wait_for(6)]
    assert sorted(arrived) == sorted(made)
    assert arrived != made


def test_a_delay(shop: Shop, receiver: Receiver, listening: stripe.WebhookEndpoint) -> None:
    modes(shop, delay_ms=400)
    shop.customer()
    asked = unix_time()
    (arrival,) = receiver.wait_for(1)
    assert deliveries(shop.simulator, arrival.event["id"])[0]["due"] >= asked + 0.2
    assert unix_time() >= asked + 0.2


def test_lost_events_are_brought_again_on_request(
    shop: Shop, receiver: Receiver, listening: stripe.WebhookEndpoint
) -> None:
    modes(shop, drop=1)
    lost, told = shop.customer().id, shop.customer().id
    (arrival,) = receiver.wait_for(1)
    assert arrival.event["data"]["object"]["id"] == told
    event = next(event for event in shop.all_events() if event["data"]["object"].get("id") == lost)
    assert [one["state"] for one in deliveries(shop.simulator, event["id"])] == ["dropped"]
    assert shop.http.post("/_sim/webhooks/redeliver", json={"event": event["id"]}).json() == {"deliveries": 1}
    assert receiver.wait_for(2)[1].event["id"] == event["id"]
    assert shop.http.post("/_sim/webhooks/redeliver", json={"event": "evt_none"}).status_code == 404


def test_a_stale_timestamp_is_refused_by_the_sdk(
    shop: Shop, receiver: Receiver, listening: stripe.WebhookEndpoint
) -> None:
    modes(shop, stale_timestamp=True)
    shop.customer()
    (arrival,) = receiver.wait_for(1)
    with pytest.raises(stripe.SignatureVerificationError, match="outside the tolerance zone"):
        stripe.WebhookSignature.verify_header(arrival.body, arrival.signature, str(listening.secret), 300)


def test_modes_can_be_seen_and_taken_back(shop: Shop) -> None:
    modes(shop, delay_ms=5)
    assert shop.http.get("/_sim/webhooks").json()["delay_ms"] == 5
    shop.http.delete("/_sim/webhooks")
    assert shop.http.get("/_sim/webhooks").json()["delay_ms"] == 0
    assert shop.http.post("/_sim/webhooks", json={"speed": "warp"}).status_code == 400


def test_an_older_version_has_the_older_shape(shop: Shop, receiver: Receiver) -> None:
    endpoint = shop.v1.webhook_endpoints.create(
        {"url": receiver.url, "enabled_events": ["*"], "api_version": "2024-06-20"}
    )
    session = shop.session()
    shop.pay(session)
    eventually(lambda: "invoice_payment.paid" in receiver.kinds())
    shop.v1.webhook_endpoints.delete(endpoint.id)
    told = {arrival.event["type"]: arrival.event for arrival in receiver.arrivals}
    assert {event["api_version"] for event in told.values()} == {"2024-06-20"}
    subscription = told["customer.subscription.created"]["data"]["object"]
    invoice = told["invoice.paid"]["data"]["object"]
    intent = told["payment_intent.succeeded"]["data"]["object"]
    assert subscription["current_period_end"] > subscription["current_period_start"]
    assert (invoice["subscription"], invoice["payment_intent"], invoice["paid"]) == (
        subscription["id"],
        intent["id"],
        True,
    )
    assert invoice["lines"]["data"][0]["price"]["unit_amount"] == 9900
    assert intent["invoice"] == invoice["id"]
    assert "parent" not in invoice


def test_two_endpoints_are_told_alike(shop: Shop, receiver: Receiver, listening: stripe.WebhookEndpoint) -> None:
    with closing(Receiver()) as other:
        endpoint = shop.v1.webhook_endpoints.create({"url": other.url, "enabled_events": ["*"]})
        shop.customer()
        (here,), (there, *_) = receiver.wait_for(1), other.wait_for(1)
        shop.v1.webhook_endpoints.delete(endpoint.id)
    assert here.event["id"] == there.event["id"]
    assert here.signature != there.signature


def test_a_disabled_endpoint_is_not_told(shop: Shop, receiver: Receiver, listening: stripe.WebhookEndpoint) -> None:
    shop.v1.webhook_endpoints.update(listening.id, {"disabled": True})
    shop.customer()
    shop.v1.webhook_endpoints.update(listening.id, {"disabled": False})
    told = shop.customer().id
    assert receiver.wait_for(1)[0].event["data"]["object"]["id"] == told


def test_a_kill_loses_neither_objects_nor_debts(start: Start, receiver: Receiver) -> None:
    """Paid, told to nobody, killed: after the restart everything is there, and the webhooks come."""
    receiver.answers.extend([503] * 13)
    simulator = start("stripe", "--api-key", API_KEY, "--webhook", receiver.url, "--webhook-secret", SECRET)
    with closing(Shop(simulator)) as shop:
        session = shop.session()
        assert shop.pay(session).status_code == 303
        simulator.kill()
        told = set(receiver.ids())
        receiver.answers.clear()
        simulator.start()
        paid = shop.v1.checkout.sessions.retrieve(session.id, {"expand": ["subscription"]})
        assert paid.payment_status == "paid"
        owed = {event["id"] for event in shop.all_events()}
        eventually(lambda: owed <= set(receiver.ids()))
        assert told <= owed
        arrival = receiver.arrivals[-1]
        assert stripe.WebhookSignature.verify_header(arrival.body, arrival.signature, SECRET, 300)
        again = shop.submit(session.url)
        assert again.headers["location"].endswith(session.id)
        assert len(shop.v1.charges.list().data) == 1


def test_an_outcome_that_cannot_be_written_down_is_owed_and_ends_no_courier(
    start: Start, receiver: Receiver, tmp_path: Path
) -> None:
    """As on a full disk; here somebody holds the journal's lock for longer than it is waited for."""
    flags = ("--api-key", API_KEY, "--webhook", receiver.url, "--webhook-secret", SECRET)
    simulator = start("stripe", *flags)
    with closing(Shop(simulator)) as shop, closing(sqlite3.connect(tmp_path / "stripe" / "stripe.sqlite3")) as journal:
        modes(shop, delay_ms=500)
        shop.customer()
        journal.execute("BEGIN IMMEDIATE")
        receiver.wait_for(2)  # sent, not written down, and sent again
        journal.rollback()
        owed = {event["id"] for event in shop.all_events()}
        eventually(lambda: all(d["state"] == "delivered" for event in owed for d in deliveries(simulator, event)))


def test_idempotency_survives_a_kill(start: Start) -> None:
    simulator = start("stripe", "--api-key", API_KEY)
    with closing(Shop(simulator)) as shop:
        first = shop.v1.customers.create({"name": "A"}, {"idempotency_key": "k"})
        simulator.kill()
        simulator.start()
        assert shop.v1.customers.create({"name": "A"}, {"idempotency_key": "k"}).id == first.id


def test_the_endpoint_of_the_command_line_is_there_once(start: Start, receiver: Receiver) -> None:
    flags = ("--api-key", API_KEY, "--webhook", receiver.url, "--webhook-secret", f"{SECRET},an older one")
    simulator = start("stripe", *flags)
    simulator.kill()
    simulator.start()
    with closing(Shop(simulator)) as shop:
        (endpoint,) = shop.v1.webhook_endpoints.list().data
        assert (endpoint.url, endpoint.enabled_events, endpoint.api_version) == (
            receiver.url,
            ["*"],
            stripe.api_version,
        )
        assert "secret" not in endpoint.to_dict()
        shop.customer()
        (arrival,) = receiver.wait_for(1)
        assert stripe.WebhookSignature.verify_header(arrival.body, arrival.signature, SECRET, 300)
