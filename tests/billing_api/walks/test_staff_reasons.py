"""Reasons and messages of staff: no customer reads a reason, in whatever route; the message is what they read.

The walk finds by itself which routes take a reason and which ones customers read, so a new one is tried too.
"""

import json
import re
from typing import Any, Final

import pytest

from core.clock import rfc3339
from tests.billing_api.conftest import Client, FakeTime
from tests.billing_api.walks.conftest import Operations
from tests.support.belongings import Belongings, belongings
from tests.support.databases import change
from tests.support.people import Desk
from tests.support.servers import DatabaseUrls

REASON: Final = "suspicion nobody else may read"
MESSAGE: Final = "words for the customer"
_BODIES: Final[dict[str, dict[str, Any]]] = {
    "PATCH /api/v1/admin/licenses/{license_id}": {"fingerprint_policy": "required"},
    "POST /api/v1/admin/licenses/{license_id}/limits": {"max_domains": 1},
    "POST /api/v1/admin/licenses/{license_id}/reset-fingerprint": {},
    "POST /api/v1/admin/licenses/{license_id}/suspend": {},
    "POST /api/v1/admin/licenses/{license_id}/resume": {},
    "POST /api/v1/admin/licenses/{license_id}/extend": {},
    "POST /api/v1/admin/users/{user_id}/role": {"role": "customer"},
    "POST /api/v1/admin/users/{user_id}/impersonate": {},
    "POST /api/v1/admin/users/{user_id}/suspend": {},
    "POST /api/v1/admin/users/{user_id}/resume": {},
}
"""In this order; what else each of them needs."""


_OTHER_REASONS: Final = {
    "POST /api/v1/admin/payments/{payment_id}/refund",  # a word of Stripe's; staff's own words are in the note
    # Of invoices and balances: for the audit trail alone, and Stripe is asked, which these rows do not come from.
    "POST /api/v1/admin/invoices/{invoice_id}/credit-note",
    "POST /api/v1/admin/invoices/{invoice_id}/mark-uncollectible",
    "POST /api/v1/admin/invoices/{invoice_id}/retry",
    "POST /api/v1/admin/invoices/{invoice_id}/void",
    "POST /api/v1/admin/users/{user_id}/balance",
    "POST /api/v1/admin/subscriptions/{subscription_id}/cancel",
    "POST /api/v1/subscriptions/{subscription_id}/cancel",  # the customer's own
}


def takes_a_reason(definition: dict[str, Any], document: dict[str, Any]) -> bool:
    body = definition.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    named = body.get("$ref", "").rpartition("/")[2]
    schema = document["components"]["schemas"].get(named, body)
    return "reason" in schema.get("properties", {})


@pytest.mark.timeout(600)
async def test_no_customer_reads_the_reason_and_each_may_be_told_a_message(
    client: Client, desk: Desk, database_urls: DatabaseUrls, operations: Operations, clock: FakeTime
) -> None:
    document = (await client.get("/schema/openapi.json")).json()
    with_reason = {
        f"{method.upper()} {path}"
        for path, item in document["paths"].items()
        for method, definition in item.items()
        if isinstance(definition, dict) and takes_a_reason(definition, document)
    }
    assert with_reason == set(_BODIES) | _OTHER_REASONS
    ada = await belongings(client, desk, database_urls, "Ada")
    license_id, user_id = ada.ids["licenses"], ada.ids["users"]
    await change(
        database_urls,
        "UPDATE licenses SET fingerprint = 'panel', expiry_date = :end WHERE id = :id",
        id=license_id,
        end=clock.now,
    )
    end = rfc3339(clock.now.replace(year=clock.now.year + 1, day=1))
    admin = await desk.staff()
    for label, body in _BODIES.items():
        method, path = label.replace("{license_id}", license_id).replace("{user_id}", user_id).split(" ")
        more = {"expiry_date": end} if path.endswith("extend") else {}
        said = {"reason": REASON, "message": MESSAGE, **body, **more}
        answer = await client.request(method, path, json=said, headers=admin)
        assert answer.status_code == 200, f"{label}: {answer.text}"
    customer = desk.signed_in(ada.user_id, session_id=await desk.a_session(ada.user_id))
    read = await everything_that_is_shown(client, operations, ada, customer)
    assert [label for label, text in read.items() if REASON in text] == []
    events = [
        event["detail" if "detail" in event else "message"]
        for label in ("GET /api/v1/licenses/{license_id}/events", "GET /api/v1/me/events")
        for event in json.loads(read[label])["items"]
        if event.get("actor", "staff") == "staff"
    ]
    assert len(events) == len(_BODIES)
    assert all(MESSAGE in str(event) for event in events)
    assert json.loads(read["GET /api/v1/licenses/{license_id}"])["status_message"] == MESSAGE
    assert MESSAGE in read["GET /api/v1/me/export"]


async def everything_that_is_shown(
    client: Client, operations: Operations, owner: Belongings, headers: dict[str, str]
) -> dict[str, str]:
    """Every document that a customer can read, by its operation."""
    read = {}
    for operation in operations:
        if operation.method != "get" or operation.path.startswith(("/api/v1/admin/", "/schema", "/health")):
            continue
        path = re.sub(
            r"(?:/api/v1)?/?([\w/-]*?)/\{\w+\}",
            lambda found: f"{found[0].rpartition('/')[0]}/{owner.ids[found[1]]}",
            operation.path,
        )
        answer = await client.get(path, headers=headers)
        assert answer.status_code in {200, 400, 404}, f"{operation.label}: {answer.text}"
        read[operation.label] = answer.text
    return read
