"""Cancellations: with the period or at once, with or without an invoice that waits, once at any failure in between."""

from typing import Any

import httpx
import msgspec
import pytest

from core.billing_policy import DEFAULT
from tests.billing_api.conftest import Buying
from tests.support.buyer import PATH, Buyer
from tests.support.people import Desk

pytestmark = [pytest.mark.usefixtures("on_sale"), pytest.mark.calendar]

HOUR = 3600
NOTHING = {"amount": 0, "currency": "usd"}


async def cancel(buyer: Buyer, verb: str = "cancel", key: str | None = None, **wish: Any) -> httpx.Response:
    headers = buyer.me | ({"Idempotency-Key": key} if key else {})
    return await buyer.client.post(f"{PATH}/{buyer.id}/{verb}", json=wish or None, headers=headers)


async def past_due(buyer: Buyer) -> None:
    await buyer.use_card("pm_card_chargeCustomerFail")
    await buyer.later(2 * HOUR)
    await buyer.told()
    assert (await buyer.subscription())["status"] == "past_due"


async def give_credit(client: httpx.AsyncClient, desk: Desk) -> None:
    policy = {**msgspec.to_builtins(DEFAULT), "cancel_now_credit": True}
    changed = await client.put("/api/v1/admin/settings/billing", json=policy, headers=await desk.staff())
    assert changed.status_code == 200, changed.text


async def test_with_the_period_it_goes_on_until_then(buyer: Buying) -> None:
    one = await buyer("Starter")
    ends = (await one.subscription())["current_period_end"]
    shown = await cancel(one, "preview-cancel")
    assert shown.json() == {"ends_at": ends, "charges": NOTHING, "credit": NOTHING}
    assert (await one.subscription())["cancel_at_period_end"] is False
    done = await cancel(one, when="period_end", reason="unused", comment="Goodbye")
    assert done.status_code == 200, done.text
    assert (done.json()["ends_at"], done.json()["cancel_at_period_end"]) == (ends, True)
    assert (await one.license())["status"] == "active"


async def test_at_once_ends_the_license_and_credits_nothing_by_itself(buyer: Buying) -> None:
    one = await buyer("Starter")
    done = (await cancel(one, when="now")).json()
    assert (done["status"], done["credit"], done["charges"]) == ("cancelled", NOTHING, NOTHING)
    assert (await one.license())["status"] == "cancelled"
    assert (await one.at_stripe())["status"] == "canceled"
    assert (await one.ask_stripe("GET", f"customers/{one.customer}"))["balance"] == 0
    assert (await cancel(one, when="now")).status_code == 409


async def test_where_the_policy_says_so_the_rest_is_credited(
    buyer: Buying, client: httpx.AsyncClient, desk: Desk
) -> None:
    await give_credit(client, desk)
    one = await buyer("Starter")
    shown = (await cancel(one, "preview-cancel", when="now")).json()
    assert shown["credit"]["amount"] == pytest.approx(2900, abs=5)
    assert (await one.at_stripe())["status"] == "active"
    done = (await cancel(one, when="now")).json()
    assert done["credit"]["amount"] == pytest.approx(shown["credit"]["amount"], abs=2)
    assert -(await one.ask_stripe("GET", f"customers/{one.customer}"))["balance"] == pytest.approx(2900, abs=5)


@pytest.mark.parametrize("when", ["period_end", "now"])
async def test_while_past_due_nothing_more_is_charged(buyer: Buying, when: str) -> None:
    one = await buyer("Starter")
    await past_due(one)
    done = await cancel(one, when=when)
    assert (done.status_code, done.json()["status"]) == (200, "cancelled")
    assert [status for _, status, _ in await one.invoices()] == ["void", "paid"]
    await one.later(30 * 24 * HOUR)
    assert [status for _, status, _ in await one.invoices()] == ["void", "paid"]
    assert (await one.license())["status"] == "cancelled"


async def test_a_draft_is_void_too(buyer: Buying) -> None:
    one = await buyer("Starter")
    await one.later(60)
    await one.told()
    assert [status for _, status, _ in await one.invoices()] == ["draft", "paid"]
    assert (await cancel(one)).json()["status"] == "cancelled"
    assert [status for _, status, _ in await one.invoices()] == ["void", "paid"]


@pytest.mark.parametrize("path", ["/v1/subscriptions/*", "/v1/invoices/*"])
@pytest.mark.parametrize("fault", ["drop_after_effect", "drop"])
async def test_an_answer_that_was_lost_is_sent_again_and_leaves_nothing_to_pay(
    buyer: Buying, path: str, fault: str
) -> None:
    one = await buyer("Starter")
    await past_due(one)
    rule = {"kind": fault, "method": "DELETE" if "subscriptions" in path else "POST", "path": path, "times": 3}
    assert (await one.browser.post(f"{one.stripe}/_sim/faults", json=rule)).is_success
    try:
        lost = await cancel(one, key="leave")
    finally:
        await one.browser.delete(f"{one.stripe}/_sim/faults")
    assert (lost.status_code, lost.json()["conclusive"]) == (502, False)
    await cancel(one, key="leave")
    assert (await one.at_stripe())["status"] == "canceled"
    assert [status for _, status, _ in await one.invoices()] == ["void", "paid"]


@pytest.mark.parametrize("wish", [{"when": "tomorrow"}, {"reason": "because"}, {"comment": "x" * 1001}, {"now": True}])
async def test_a_wish_that_is_none_changes_nothing(buyer: Buying, wish: dict[str, Any]) -> None:
    one = await buyer("Starter")
    assert (await cancel(one, **wish)).status_code == 400
    assert (await one.subscription())["cancel_at_period_end"] is False


async def pay(buyer: Buyer, key: str | None = None, **wish: Any) -> httpx.Response:
    return await cancel(buyer, "pay", key, **wish)


async def test_what_is_open_is_paid_with_the_card_that_is_charged_by_now(buyer: Buying) -> None:
    one = await buyer("Starter")
    assert (await pay(one)).json()["code"] == "conflict"
    await past_due(one)
    declined = await pay(one, key="try")
    assert (declined.status_code, declined.json()["code"]) == (402, "payment_declined")
    await one.use_card("pm_card_visa")
    paid = await pay(one, key="try")
    assert (paid.status_code, paid.json()) == (200, {"status": "paid", "url": None})
    assert ((await one.subscription())["status"], (await one.license())["status"]) == ("active", "active")
    again = await pay(one, key="try")
    assert (again.json(), again.headers["idempotency-replayed"]) == (paid.json(), "true")
    assert [status for _, status, _ in await one.invoices()] == ["paid", "paid"]


async def test_another_card_of_mine_may_pay_and_nobody_elses(buyer: Buying) -> None:
    one = await buyer("Starter")
    other = await buyer("Starter")
    (theirs,) = (await other.client.get("/api/v1/payment-methods", headers=other.me)).json()["items"]
    (mine,) = (await one.client.get("/api/v1/payment-methods", headers=one.me)).json()["items"]
    await past_due(one)
    assert (await pay(one, payment_method_id=theirs["id"])).status_code == 404
    assert (await pay(one, payment_method_id="card")).status_code == 400
    assert (await pay(one, payment_method_id=mine["id"])).json()["status"] == "paid"


async def test_the_bank_s_question_is_asked_where_the_answer_says(buyer: Buying) -> None:
    one = await buyer("Starter")
    await past_due(one)
    await one.use_card("pm_card_threeDSecure2Required")
    asked = (await pay(one)).json()
    assert asked["status"] == "action_required"
    await one.confirm(asked["url"])
    await one.told()
    assert (await one.subscription())["status"] == "active"


async def test_an_upgrade_that_waits_for_the_bank_does_not_end_what_is_paid(buyer: Buying) -> None:
    one = await buyer("Starter")
    await one.use_card("pm_card_threeDSecure2Required")
    assert (await one.done("change", "Professional"))["pending_change"] is not None
    done = (await cancel(one)).json()
    assert (done["status"], done["cancel_at_period_end"], done["pending_change"]) == ("active", True, None)
    assert done["ends_at"] == (await one.subscription())["current_period_end"]
    assert [status for _, status, _ in await one.invoices()] == ["void", "paid"]
    assert (await one.license())["status"] == "active"


async def test_at_once_drops_a_change_that_was_planned(buyer: Buying) -> None:
    one = await buyer("Professional")
    await one.done("change", "Starter")
    assert (await cancel(one, when="now")).json()["status"] == "cancelled"
    assert (await one.at_stripe())["status"] == "canceled"
    await one.later(40 * 24 * HOUR)
    assert [status for _, status, _ in await one.invoices()] == ["paid"]
