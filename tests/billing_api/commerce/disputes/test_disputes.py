"""Disputes as staff see and answer them."""

from typing import Any

import httpx
import pytest

from billing_api.commerce.stripe_mirror.service import Mirror, StripeObject
from tests.billing_api.conftest import Buying, Client
from tests.support.buyer import Buyer
from tests.support.databases import rows
from tests.support.errands import Errands
from tests.support.people import Desk, Headers
from tests.support.servers import DatabaseUrls
from tests.support.stripe import objects

pytestmark = pytest.mark.usefixtures("on_sale")

PATH = "/api/v1/admin/disputes"


@pytest.fixture
async def admin(desk: Desk) -> Headers:
    return await desk.staff()


@pytest.fixture
async def disputed(buyer: Buying, mirror: Mirror, errands: Errands) -> Buyer:
    one = await buyer("Starter")
    await dispute(one, mirror)
    await errands.run()
    return one


async def dispute(one: Buyer, mirror: Mirror, kind: str = "chargeback") -> str:
    [charge] = await objects(one.browser, one.stripe, "charges", customer=one.customer)
    made = await one.browser.post(f"{one.stripe}/_sim/disputes", json={"charge": charge["id"], "kind": kind})
    dispute_id: str = made.json()["id"]
    await mirror.mirror(StripeObject("dispute", dispute_id, None))
    return dispute_id


async def the_dispute(client: Client, admin: Headers, query: str = "") -> dict[str, Any]:
    [one] = (await client.get(f"{PATH}{query}", headers=admin)).json()["items"]
    found: dict[str, Any] = one
    return found


async def answer(client: Client, admin: Headers, verb: str, body: Any = None, key: str | None = None) -> httpx.Response:
    dispute_id = (await the_dispute(client, admin))["id"]
    headers = admin | ({"Idempotency-Key": key} if key else {})
    return await client.post(f"{PATH}/{dispute_id}/{verb}", json=body, headers=headers)


async def test_staff_and_owner_see_it(client: Client, admin: Headers, disputed: Buyer) -> None:
    shown = await the_dispute(client, admin)
    assert (shown["status"], shown["reason"], shown["license"]) == ("needs_response", "fraudulent", "suspend")
    assert (shown["amount"], shown["license_id"]) == ({"amount": 2900, "currency": "usd"}, disputed.license_id)
    [payment] = (await client.get("/api/v1/payments", headers=disputed.me)).json()["items"]
    assert payment["dispute"] == {name: shown[name] for name in ("id", "status", "reason", "amount", "created_at")}
    listed = (await client.get("/api/v1/admin/payments?disputed=true", headers=admin)).json()
    assert [one["id"] for one in listed["items"]] == [payment["id"]]
    assert (await client.get("/api/v1/admin/payments?disputed=false", headers=admin)).json()["items"] == []


async def test_filters_say_what_they_say(client: Client, admin: Headers, disputed: Buyer) -> None:
    for query, number in {"?open=true": 1, "?open=false": 0, "?status=won": 0, "?status=needs_response": 1}.items():
        assert (await client.get(f"{PATH}{query}", headers=admin)).json()["total"] == number, query
    assert (await client.get(f"{PATH}?color=red", headers=admin)).status_code == 400


async def test_evidence_that_wins_restores_the_license(
    client: Client, admin: Headers, disputed: Buyer, errands: Errands
) -> None:
    assert (await disputed.license())["status"] == "suspended"
    won = await answer(client, admin, "evidence", {"uncategorized_text": "winning_evidence"})
    assert (won.status_code, won.json()["status"]) == (200, "won"), won.text
    assert (await disputed.license())["status"] == "active"
    await errands.run()
    assert (await disputed.at_stripe())["pause_collection"] is None


async def test_evidence_can_wait_and_is_submitted_once(client: Client, admin: Headers, disputed: Buyer) -> None:
    kept = await answer(client, admin, "evidence", {"product_description": "a panel", "submit": False})
    assert (kept.json()["status"], kept.json()["has_evidence"], kept.json()["submissions"]) == (
        "needs_response",
        True,
        0,
    )
    body = {"customer_name": "Ada Byron"}
    first, second = [await answer(client, admin, "evidence", body, key="once") for _ in range(2)]
    assert (first.json()["status"], first.json()["submissions"]) == ("under_review", 1)
    assert (second.json(), second.headers["idempotency-replayed"]) == (first.json(), "true")
    again = await answer(client, admin, "evidence", body)
    assert (again.status_code, again.json()["code"]) == (409, "conflict")
    assert (await the_dispute(client, admin))["submissions"] == 1


async def test_an_accepted_loss_ends_license_and_subscription(
    client: Client, admin: Headers, disputed: Buyer, errands: Errands, database_urls: DatabaseUrls
) -> None:
    lost = await answer(client, admin, "close")
    assert (lost.status_code, lost.json()["status"]) == (200, "lost"), lost.text
    assert (await disputed.license())["status"] == "cancelled"
    await errands.run()
    assert (await disputed.at_stripe())["status"] == "canceled"
    [payment] = (await client.get("/api/v1/payments", headers=disputed.me)).json()["items"]
    assert (payment["status"], payment["refunded"]["amount"]) == ("refunded", 2900)
    for verb, body in (("close", None), ("evidence", {"customer_name": "A"})):
        refused = await answer(client, admin, verb, body)
        assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    acts = await rows(database_urls, "SELECT 1 FROM audit_log WHERE action = 'dispute.loss_accepted'")
    assert len(acts) == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"submit": True}, 422),
        ({"customer_name": ""}, 400),
        ({"customer_name": 7}, 400),
        ({"receipt": "file_1"}, 400),
        ({"uncategorized_text": "x" * 20_001}, 400),
    ],
)
async def test_bad_evidence_changes_nothing(
    client: Client, admin: Headers, disputed: Buyer, body: dict[str, Any], status: int
) -> None:
    assert (await answer(client, admin, "evidence", body)).status_code == status
    assert (await the_dispute(client, admin))["has_evidence"] is False


async def test_an_inquiry_is_refunded_and_closes(
    client: Client, admin: Headers, buyer: Buying, mirror: Mirror, errands: Errands
) -> None:
    one = await buyer("Starter")
    await dispute(one, mirror, "inquiry")
    [payment] = (await client.get("/api/v1/payments", headers=one.me)).json()["items"]
    order = {"reason": "requested_by_customer", "license": "keep"}
    path = f"/api/v1/admin/payments/{payment['id']}/refund"
    assert (await client.post(path, json=order, headers=admin)).status_code == 201
    await errands.run()
    closed = await the_dispute(client, admin)
    assert (closed["status"], (await one.license())["status"]) == ("warning_closed", "active")
    assert closed["closed_at"] is not None
