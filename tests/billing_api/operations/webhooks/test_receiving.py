"""Receiving webhooks: a signed event is stored once and answered; an unsigned one leaves no trace."""

import asyncio
import hmac
import json
from typing import Any

import pytest
from sqlalchemy import func, select

from billing_api.commerce.stripe_mirror.service import Mirror
from billing_api.operations.webhooks.service import WebhookProcessor, WebhookReceiver
from billing_api.operations.webhooks.stripe_event import UNREADABLE
from core.clock import unix_time
from db.models.messaging import OutboxRow, WebhookEvent
from db.unit_of_work import Database
from tests.billing_api.conftest import Client
from tests.support.environment import WEBHOOK_SECRET

PATH = "/api/v1/webhooks/stripe"


def an_event(**changes: Any) -> bytes:
    thing = {"object": "invoice", "id": "in_1", "customer": "cus_nobody"}
    event = {"id": "evt_1", "object": "event", "type": "invoice.paid", "data": {"object": thing}}
    return json.dumps(event | changes).encode()


def signature(body: bytes, *, secret: str = WEBHOOK_SECRET, age: int = 0) -> str:
    t = int(unix_time()) - age
    return f"t={t},v1={hmac.new(secret.encode(), b'%d.' % t + body, 'sha256').hexdigest()}"


async def count(database: Database, table: Any) -> int:
    async with database.as_system() as tx:
        return await tx.session.scalar(select(func.count()).select_from(table)) or 0


async def test_a_signed_event_is_stored_with_its_job(client: Client, database: Database) -> None:
    body = an_event()
    answer = await client.post(PATH, content=body, headers={"Stripe-Signature": signature(body)})
    assert (answer.status_code, answer.json()) == (200, {"received": True, "duplicate": False})
    async with database.as_system() as tx:
        event = (await tx.session.execute(select(WebhookEvent))).scalar_one()
        job = (await tx.session.execute(select(OutboxRow.job))).scalar_one()
    assert (event.source_event_id, event.event_type, event.processed) == ("evt_1", "invoice.paid", False)
    assert event.payload == json.loads(body)
    assert job == {"type": "process_webhook", "webhook_event_id": str(event.id)}


async def test_the_same_event_ten_times_at_once_is_one_row_and_one_job(client: Client, database: Database) -> None:
    body = an_event()
    headers = {"Stripe-Signature": signature(body)}
    answers = await asyncio.gather(*(client.post(PATH, content=body, headers=headers) for _ in range(10)))
    assert [answer.status_code for answer in answers] == [200] * 10
    assert sorted(answer.json()["duplicate"] for answer in answers) == [False] + [True] * 9
    assert await count(database, WebhookEvent) == 1
    assert await count(database, OutboxRow) == 1


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (an_event(), {}),
        (an_event(), {"Stripe-Signature": ""}),
        (an_event(), {"Stripe-Signature": "t=1,v1=00"}),
        (an_event(), {"Stripe-Signature": "nonsense"}),
        (an_event(), {"Stripe-Signature": "t=x,v1=é".encode("latin-1")}),
        (an_event(), {"Stripe-Signature": signature(an_event(), secret="whsec_another")}),
        (an_event(), {"Stripe-Signature": signature(an_event(), age=400)}),
        (an_event(), {"Stripe-Signature": signature(an_event(), age=-4000)}),
        (an_event(), {"Stripe-Signature": signature(an_event(), age=-(10**9))}),
        (an_event(), {"Stripe-Signature": signature(an_event()).replace("v1=", "v0=")}),
        (an_event(id="evt_2"), {"Stripe-Signature": signature(an_event())}),
        (b"\xff\xfe", {"Stripe-Signature": signature(an_event())}),
    ],
    ids=[
        "missing",
        "empty",
        "forged",
        "nonsense",
        "non-ascii",
        "other secret",
        "stale",
        "ahead",
        "far ahead",
        "other scheme",
        "other body",
        "no utf-8",
    ],
)
async def test_what_is_not_signed_is_refused_and_leaves_nothing(
    client: Client, database: Database, body: bytes, headers: dict[str, Any]
) -> None:
    answer = await client.post(PATH, content=body, headers=headers)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "invalid_input"
    assert await count(database, WebhookEvent) == 0
    assert await count(database, OutboxRow) == 0


THIN = {"id": "evt_thin", "object": "v2.core.event", "type": "v1.billing.meter.error_report_triggered"}


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (json.dumps(THIN).encode(), THIN["type"]),
        (b'{"id":"e","type":"t","data":[]}', "t"),
        (b'{"id":"e","type":"t","data":{"object":{"object":"invoice","id":"\\ud800","customer":"\\u0000"}}}', "t"),
        (b'{"id":"e","type":"t","\\u0000":1e400}', "t"),
        (b'{"id":"e\\ud83d","type":"t"}', UNREADABLE),
        (b'{"id":"e","type":"t\\u0000"}', UNREADABLE),
        (b'{"id":"%s","type":"t"}' % (b"e" * 300_000), UNREADABLE),
        (b'{"id":"e","type":"t","n":%s}' % (b"9" * 4000), "t"),
        (b'{"id":"e","type":"t","n":%s}' % (b"9" * 5000), UNREADABLE),
        (b"[" * 100_000, UNREADABLE),
        (b'{"id":1}', UNREADABLE),
        (b"{", UNREADABLE),
        (b"[]", UNREADABLE),
        (b"null", UNREADABLE),
        (b"", UNREADABLE),
        (b"\xff\xfe\x00", UNREADABLE),
    ],
    ids=[
        "thin",
        "list",
        "surrogate",
        "nul",
        "odd_id",
        "odd_type",
        "long_id",
        "digits",
        "more_digits",
        "deep",
        "no_id",
        "torn",
        "array",
        "null",
        "empty",
        "bytes",
    ],
)
async def test_whatever_is_signed_is_stored_and_worked_off(
    client: Client, database: Database, mirror: Mirror, body: bytes, kind: str
) -> None:
    for duplicate in (False, True):
        answer = await client.post(PATH, content=body, headers={"Stripe-Signature": signature(body)})
        assert (answer.status_code, answer.json()) == (200, {"received": True, "duplicate": duplicate})
    async with database.as_system() as tx:
        event = (await tx.session.execute(select(WebhookEvent))).scalar_one()
    assert event.event_type == kind
    await WebhookProcessor(database, mirror, livemode=False).process(event.id)
    async with database.as_system() as tx:
        assert (await tx.session.execute(select(WebhookEvent.processed))).scalar_one() is True


async def test_while_a_secret_is_rotated_both_hold(database: Database) -> None:

    receiver = WebhookReceiver(database, ("whsec_new", WEBHOOK_SECRET))
    old, new = an_event(), an_event(id="evt_2")
    assert not (await receiver.receive(old, signature(old))).duplicate
    assert not (await receiver.receive(new, signature(new, secret="whsec_new"))).duplicate


async def test_an_event_type_we_have_no_use_for_is_stored_and_worked_off(
    client: Client, database: Database, mirror: Mirror
) -> None:
    body = an_event(type="some.future_event", data={"object": {"object": "unheard_of", "id": "x", "customer": "cus"}})
    answer = await client.post(PATH, content=body, headers={"Stripe-Signature": signature(body)})
    assert answer.status_code == 200

    async with database.as_system() as tx:
        event_id = (await tx.session.execute(select(WebhookEvent.id))).scalar_one()
    await WebhookProcessor(database, mirror, livemode=False).process(event_id)
    async with database.as_system() as tx:
        assert (await tx.session.execute(select(WebhookEvent.processed))).scalar_one() is True
