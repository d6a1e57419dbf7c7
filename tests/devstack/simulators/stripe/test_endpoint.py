"""What is the same for every operation: keys, idempotency, parameters, expansion, pages, errors."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
import stripe

from tests.devstack.simulators.stripe.shop import API_KEY, Shop, wire


def make(shop: Shop, key: str, email: str = "a@example.com") -> stripe.Customer:
    return shop.v1.customers.create({"email": email}, {"idempotency_key": key})


def headers_of(answer: Any) -> dict[str, str]:
    headers: dict[str, str] = dict(answer.last_response.headers)
    return headers


def test_the_same_key_gives_the_same_answer(shop: Shop) -> None:
    key = str(uuid4())
    first, again = make(shop, key), make(shop, key)
    assert again.id == first.id
    assert "idempotent-replayed" not in headers_of(first)
    assert headers_of(again)["idempotent-replayed"] == "true"
    assert headers_of(again)["original-request"] == headers_of(first)["request-id"]
    assert headers_of(again)["request-id"] != headers_of(first)["request-id"]


def test_the_same_key_for_something_else_is_refused(shop: Shop) -> None:
    key = str(uuid4())
    make(shop, key)
    with pytest.raises(stripe.IdempotencyError):
        make(shop, key, "b@example.com")
    with pytest.raises(stripe.IdempotencyError):
        shop.v1.products.create({"name": "P"}, {"idempotency_key": key})


def test_a_key_whose_request_still_runs_is_a_conflict(shop: Shop) -> None:
    key = str(uuid4())
    shop.http.post("/_sim/faults", json={"kind": "delay", "delay_ms": 600, "path": "/v1/customers"})
    with ThreadPoolExecutor(1) as other:
        slow = other.submit(make, shop, key)
        while shop.http.get("/_sim/faults").json()["items"]:  # until the slow one has begun
            pass
        answer = shop.raw("POST", "/v1/customers", {"Idempotency-Key": key}, data={"email": "a@example.com"})
        assert answer.status_code == 409
        assert slow.result().id.startswith("cus_")


def test_a_decline_is_repeated_with_its_key(shop: Shop) -> None:
    key, customer = str(uuid4()), shop.customer().id
    pay: Any = {"amount": 900, "currency": "usd", "customer": customer, "confirm": True}
    for _ in range(2):
        with pytest.raises(stripe.CardError):
            shop.v1.payment_intents.create(pay | {"payment_method": "pm_card_chargeDeclined"}, {"idempotency_key": key})
    assert len(shop.v1.payment_intents.list({"customer": customer}).data) == 1


def test_a_lost_answer_is_found_again_by_the_sdk(shop: Shop) -> None:
    """The SDK retries a cut connection under the same key: one customer."""
    email = f"{uuid4()}@example.com"
    shop.http.post("/_sim/faults", json={"kind": "drop_after_effect", "method": "POST", "path": "/v1/customers"})
    made = shop.v1.customers.create({"email": email}, {"max_network_retries": 2})
    assert [found.id for found in shop.v1.customers.list({"email": email}).data] == [made.id]


def test_a_refused_parameter_does_not_use_up_the_key(shop: Shop) -> None:
    key = str(uuid4())
    wrong: Any = {"emial": "a"}
    with pytest.raises(stripe.InvalidRequestError):
        shop.v1.customers.create(wrong, {"idempotency_key": key})
    assert make(shop, key).id.startswith("cus_")


@pytest.mark.parametrize(
    ("path", "form", "param", "code"),
    [
        ("customers", {"color": "red"}, "color", "parameter_unknown"),
        ("customers", {"invoice_settings[color]": "red"}, "invoice_settings[color]", "parameter_unknown"),
        ("subscriptions", {"items[0][color]": "red"}, "items[0][color]", "parameter_unknown"),
        ("payment_intents", {"payment_method_types[]": "card"}, "payment_method_types", "parameter_unknown"),
        ("payment_intents", {"currency": "usd"}, "amount", "parameter_missing"),
        ("payment_intents", {"amount": "ten", "currency": "usd"}, "amount", "parameter_invalid_integer"),
        ("payment_intents", {"amount": "1000", "currency": ""}, "currency", "parameter_invalid_empty"),
        ("payment_intents", {"amount": "10", "currency": "usd"}, "amount", "amount_too_small"),
        ("coupons", {"percent_off": "10", "duration": "always"}, "duration", None),
        ("products", {"name": "x", "active": "perhaps"}, "active", None),
        ("products", {"name[0]": "x"}, "name", None),
        ("subscriptions", {"items[price]": "x"}, "items", "parameter_invalid"),
    ],
)  # fmt: skip
def test_parameters_are_those_of_the_pinned_version(
    shop: Shop, path: str, form: dict[str, str], param: str, code: str | None
) -> None:
    answer = shop.raw("POST", f"/v1/{path}", data=form)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (400, "invalid_request_error")
    assert (error["param"], error.get("code")) == (param, code)


def test_a_client_that_names_no_version_may_use_older_words(shop: Shop) -> None:
    coupon = shop.v1.coupons.create({"percent_off": 10})
    answer = shop.http.post(
        "/v1/promotion_codes",
        data={"coupon": coupon.id, "color": "red"},
        headers={"Authorization": f"Bearer {API_KEY}"},
    )
    assert answer.status_code == 200
    assert answer.json()["promotion"]["coupon"] == coupon.id


@pytest.mark.parametrize("header", ["", "Bearer sk_test_wrong", "Basic !!", "Digest x"])
def test_a_wrong_key_is_refused(shop: Shop, header: str) -> None:
    answer = shop.http.get("/v1/account", headers={"Authorization": header} if header else {})
    assert answer.status_code == 401
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert API_KEY not in answer.text


def test_the_key_may_be_a_user_name(shop: Shop) -> None:
    assert shop.http.get("/v1/account", auth=(API_KEY, "")).status_code == 200


def test_every_answer_has_a_request_id(shop: Shop) -> None:
    for path in ("/v1/account", "/v1/customers/cus_none"):
        assert shop.raw("GET", path).headers["request-id"].startswith("req_")


def test_what_is_not_there_is_not_found(shop: Shop) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="No such customer: 'cus_none'") as missing:
        shop.v1.customers.retrieve("cus_none")
    assert (missing.value.http_status, missing.value.code) == (404, "resource_missing")


def test_an_address_that_is_none(shop: Shop) -> None:
    answer = shop.raw("GET", "/v1/unicorns")
    assert answer.status_code == 404
    assert answer.json()["error"]["message"] == "Unrecognized request URL (GET: /v1/unicorns)."


def test_expansion_goes_deep_and_through_lists(shop: Shop) -> None:
    subscription = shop.subscription()
    deep = wire(
        shop.v1.invoices.list(
            {"subscription": subscription.id, "expand": ["data.payments.data.payment", "data.customer"]}
        )
    )
    (invoice,) = deep["data"]
    assert invoice["customer"]["object"] == "customer"
    intent = wire(shop.v1.invoices.retrieve(invoice["id"], {"expand": ["payments.data.payment.payment_intent"]}))[
        "payments"
    ]["data"][0]["payment"]["payment_intent"]
    assert intent["status"] == "succeeded"
    assert "payments" not in wire(shop.v1.invoices.retrieve(invoice["id"]))


@pytest.mark.parametrize("path", ["color", "customer.color", "a.b.c.d.e"])
def test_what_cannot_be_expanded(shop: Shop, path: str) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        shop.v1.subscriptions.retrieve(shop.subscription().id, {"expand": [path]})
    assert refused.value.param == "expand"


def test_pages_hold_everything_once(shop: Shop) -> None:
    email = f"{uuid4()}@example.com"
    made = [shop.v1.customers.create({"email": email}).id for _ in range(7)]
    listed = shop.v1.customers.list({"email": email, "limit": 3})
    assert (listed.has_more, [one.id for one in listed.data]) == (True, made[:-4:-1])
    assert [one.id for one in listed.auto_paging_iter()] == made[::-1]
    before = shop.v1.customers.list({"email": email, "limit": 3, "ending_before": made[0]})
    assert (before.has_more, [one.id for one in before.data]) == (True, made[3:0:-1])


def test_pages_are_bounded_and_their_cursors_exist(shop: Shop) -> None:
    for wrong in ({"limit": 101}, {"limit": 0}, {"starting_after": "cus_none"}):
        params: Any = wrong
        with pytest.raises(stripe.InvalidRequestError) as refused:
            shop.v1.customers.list(params)
        assert refused.value.param == next(iter(wrong))


def test_lists_filter_by_time(shop: Shop) -> None:
    customer = shop.customer()
    at = customer.created
    assert customer.id in [one.id for one in shop.v1.customers.list({"created": {"gte": at}, "limit": 100}).data]
    assert customer.id not in [one.id for one in shop.v1.customers.list({"created": {"gt": at + 60}}).data]
    assert shop.v1.customers.list({"created": 5}).data == []


def test_metadata_is_merged(shop: Shop) -> None:
    customer = shop.v1.customers.create({"metadata": {"a": "1", "b": "2"}})
    merged = shop.v1.customers.update(customer.id, {"metadata": {"a": "", "c": "3"}})
    assert wire(merged)["metadata"] == {"b": "2", "c": "3"}
    assert wire(shop.v1.customers.update(customer.id, {"metadata": ""}))["metadata"] == {}


def test_one_lookup_key_names_one_price(shop: Shop) -> None:
    params: Any = {"product": shop.v1.products.create({"name": "P"}).id, "currency": "usd", "unit_amount": 100}
    key = str(uuid4())
    first = shop.v1.prices.create(params | {"lookup_key": key})
    with pytest.raises(stripe.InvalidRequestError, match="already uses that lookup key"):
        shop.v1.prices.create(params | {"lookup_key": key})
    second = shop.v1.prices.create(params | {"lookup_key": key, "transfer_lookup_key": True})
    assert [price.id for price in shop.v1.prices.list({"lookup_keys": [key]}).data] == [second.id]
    assert shop.v1.prices.retrieve(first.id).lookup_key is None


def test_faults_speak_stripes_language(shop: Shop) -> None:
    shop.http.post("/_sim/faults", json={"kind": "status", "status": 429, "path": "/v1/account"})
    with pytest.raises(stripe.RateLimitError):
        shop.v1.accounts.retrieve_current()
