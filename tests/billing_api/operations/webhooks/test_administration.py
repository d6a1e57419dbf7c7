"""Received events as staff see them: a lean list, and one event with its payload."""

from uuid import UUID

from sqlalchemy import insert

from billing_api.operations.webhooks import repository
from core.ids import new_id
from db.models.identity import Role
from db.models.messaging import WebhookEvent
from db.unit_of_work import Database
from tests.billing_api.conftest import Client
from tests.support.databases import change, plan_of
from tests.support.people import Desk
from tests.support.servers import DatabaseUrls

PATH = "/api/v1/admin/webhook-events"
PAYLOAD = {"id": "evt_1", "object": "event", "data": {"object": {"customer_email": "ada@example.com"}}}


async def an_event(database: Database, event_type: str = "invoice.paid") -> UUID:
    row = {
        "id": new_id(),
        "event_type": event_type,
        "source": "stripe",
        "source_event_id": new_id().hex,
        "payload": PAYLOAD,
        "processed": False,
    }
    async with database.as_system() as tx:
        await tx.session.execute(insert(WebhookEvent).values(row))
    return row["id"]  # type: ignore[return-value]  # as made above


async def test_the_list_has_no_payloads_and_one_event_has(client: Client, desk: Desk, database: Database) -> None:
    event_id = await an_event(database)
    support = await desk.staff(Role.SUPPORT)
    listed = await client.get(PATH, headers=support)
    assert [item["id"] for item in listed.json()["items"]] == [str(event_id)]
    assert "ada@example.com" not in listed.text
    assert "payload" not in listed.json()["items"][0]
    one = (await client.get(f"{PATH}/{event_id}", headers=support)).json()
    assert one["payload"] == PAYLOAD
    assert {name: value for name, value in one.items() if name != "payload"} == listed.json()["items"][0]


async def test_an_event_that_is_not_there_and_who_may_not_look(client: Client, desk: Desk, database: Database) -> None:
    event_id = await an_event(database)
    missing = await client.get(f"{PATH}/{new_id()}", headers=await desk.staff())
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
    refused = await client.get(f"{PATH}/{event_id}", headers=await desk.a_customer())
    assert refused.status_code == 403


async def test_events_are_found_by_an_index(desk: Desk, database: Database, database_urls: DatabaseUrls) -> None:
    await change(
        database_urls,
        """INSERT INTO webhook_events (id, event_type, source, source_event_id, payload, processed)
        SELECT gen_random_uuid(), 'invoice.paid', 'stripe', n::text, '{}', true FROM generate_series(1, 3000) AS n""",
    )
    await an_event(database, "customer.deleted")
    await change(database_urls, "ANALYZE webhook_events")
    async with database.as_staff(await desk.a_user(Role.SUPPORT)) as tx:
        for event_type, index in ((None, "created_at"), ("customer.deleted", "event_type")):
            found = repository.received(processed=None, event_type=event_type)
            plan = await plan_of(tx.session, repository.NEWEST_FIRST.sorted(found).limit(20))
            assert f"ix_webhook_events_{index}" in plan, plan
            assert "Seq Scan" not in plan
