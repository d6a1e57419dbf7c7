"""Lists of reports: an answer for each, and an invalid one does not affect the others."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, text

from core.clock import rfc3339
from core.ids import new_id
from db.models.licensing import LicenseType
from db.models.usage import HoldSettlement, LicenseUsage, UsageEvent
from db.unit_of_work import Database
from tests.billing_api.conftest import Client
from tests.billing_api.licensing.usage.test_usage import an_api_key, report
from tests.support.people import Desk

pytestmark = pytest.mark.usefixtures("client")


class Sender:
    """Sends lists with a platform key about one starter license: five databases, three domains."""

    def __init__(self, client: Client, key_id: str, license_key: str) -> None:
        self.client = client
        self.key_id = key_id
        self.license_key = license_key

    def item(self, key: str, **changes: Any) -> dict[str, Any]:
        facts = {"resource": "databases", "action": "created", "count": 1, "idempotency_key": key}
        return {"license_key": self.license_key, **facts, **changes}

    async def send(self, *items: Any) -> list[dict[str, Any]]:
        status, answer = await report(self.client, self.key_id, {"items": list(items)}, "")
        assert status == 200, answer
        answers: list[dict[str, Any]] = answer["items"]
        assert len(answers) == len(items)
        return answers


@pytest.fixture
async def sender(client: Client, desk: Desk) -> Sender:
    issued = await desk.a_license(await desk.a_user(), LicenseType.STARTER)
    return Sender(client, await an_api_key(desk), issued.key)


async def total(database: Database, resource: str = "databases") -> tuple[int, int]:
    async with database.as_system() as tx:
        row = (await tx.session.execute(select(LicenseUsage).where(LicenseUsage.resource == resource))).scalar_one()
    return row.used, row.events


async def test_each_item_is_answered_in_its_place(sender: Sender, database: Database) -> None:
    answers = await sender.send(
        sender.item("a"), sender.item("b", count=2), sender.item("c", resource="domains", action="set", count=9)
    )
    assert [answer["quota_remaining"] for answer in answers] == [4, 2, 0]
    assert [answer["overage"] for answer in answers] == [False, False, True]
    assert (await total(database), await total(database, "domains")) == ((3, 2), (9, 1))


@pytest.mark.parametrize(
    ("wrong", "status", "code", "field"),
    [
        ({"resource": "unicorns"}, 400, "invalid_input", "resource"),
        ({"count": -1}, 400, "invalid_input", "count"),
        ({"count": 0}, 400, "invalid_input", "count"),
        ({"count": 10**12}, 400, "invalid_input", "count"),
        ({"occurred_at": "2999-01-01T00:00:00Z"}, 400, "invalid_input", "occurred_at"),
        ({"occurred_at": "1999-12-31T23:59:59Z"}, 400, "invalid_input", "occurred_at"),
        ({"reservation_id": "0" * 32}, 400, "invalid_input", "reservation_id"),
        ({"idempotency_key": ""}, 400, "invalid_input", "idempotency_key"),
        ({"license_key": "NP-0000-0000-0000"}, 404, "not_found", None),
        ({"surprise": 1}, 400, "invalid_input", "surprise"),
        ({"idempotency_key": " \t"}, 400, "invalid_input", "idempotency_key"),
    ],
)
async def test_what_is_wrong_is_told_with_its_field_and_harms_no_other(
    sender: Sender, database: Database, wrong: dict[str, Any], status: int, code: str, field: str | None
) -> None:
    first, bad, last = await sender.send(sender.item("a"), sender.item("b", **wrong), sender.item("c"))
    assert (first["success"], last["success"]) == (True, True)
    assert bad["success"] is False
    assert (bad["problem"]["status"], bad["problem"]["code"]) == (status, code)
    assert [error["field"] for error in bad["problem"]["errors"]] == ([field] if field else [])
    assert "quota_remaining" not in bad
    assert await total(database) == (2, 2)


async def test_items_that_are_nothing_of_the_kind(sender: Sender) -> None:
    answers = await sender.send(5, None, [], "x", sender.item("a"))
    assert [answer["success"] for answer in answers] == [False, False, False, False, True]


async def test_a_foreign_license_is_not_found(sender: Sender, client: Client, desk: Desk) -> None:
    other = await desk.a_license(await desk.a_user())
    bound = Sender(client, await an_api_key(desk, license_id=other.license.id), sender.license_key)
    foreign, own = await bound.send(bound.item("a"), bound.item("b", license_key=other.key))
    assert (foreign["problem"]["code"], own["success"]) == ("not_found", True)


@pytest.mark.parametrize("number", [0, 1001])
async def test_too_few_and_too_many_are_refused_whole(sender: Sender, database: Database, number: int) -> None:
    content = {"items": [sender.item(str(n)) for n in range(number)]}
    status, problem = await report(sender.client, sender.key_id, content, "")
    assert (status, problem["code"]) == (400, "invalid_input")
    async with database.as_system() as tx:
        assert (await tx.session.execute(select(UsageEvent))).all() == []


async def test_a_thousand_are_numbered_without_a_gap(sender: Sender, database: Database) -> None:
    items = [sender.item(str(n), action="deleted" if n % 3 == 0 else "created") for n in range(1000)]
    answers = await sender.send(*items)
    assert all(answer["success"] for answer in answers)
    async with database.as_system() as tx:
        events = (await tx.session.execute(select(UsageEvent).order_by(UsageEvent.seq))).scalars().all()
    assert [event.seq for event in events] == list(range(1, 1001))
    assert [event.idempotency_key for event in events] == [item["idempotency_key"] for item in items]
    used = 0
    for event in events:
        used += -1 if event.action == "deleted" else 1
        assert event.used_after == used
    assert await total(database) == (used, 1000)


async def test_the_same_item_twice_counts_once_in_a_list_in_two_lists_and_alone(
    sender: Sender, database: Database
) -> None:
    same = await asyncio.gather(*(sender.send(sender.item("a"), sender.item("a")) for _ in range(6)))
    assert {answer["quota_remaining"] for answers in same for answer in answers} == {4}
    alone = {name: value for name, value in sender.item("a").items() if name != "idempotency_key"}
    assert (await report(sender.client, sender.key_id, alone, "a"))[1]["quota_remaining"] == 4
    assert await total(database) == (1, 1)


async def test_a_key_that_stands_for_another_report_is_a_mismatch(sender: Sender, database: Database) -> None:
    first, second = await sender.send(sender.item("a"), sender.item("a", count=2))
    assert (first["success"], second["problem"]["code"]) == (True, "idempotency_mismatch")
    (third,) = await sender.send(sender.item("a", resource="emails"))
    assert (third["problem"]["status"], third["problem"]["code"]) == (422, "idempotency_mismatch")
    assert await total(database) == (1, 1)


async def test_one_key_for_two_resources_at_once_counts_for_one(sender: Sender, database: Database) -> None:
    """Two totals, two locks: only the events' unique key detects it, and the loser's totals are rolled back."""
    for number in range(5):
        answers = await asyncio.gather(
            sender.send(sender.item(f"k{number}")), sender.send(sender.item(f"k{number}", resource="emails"))
        )
        assert sorted(answer["success"] for (answer,) in answers) == [False, True]
    async with database.as_system() as tx:
        sums = (await tx.session.execute(text("SELECT sum(used), sum(events) FROM license_usage"))).one()
    assert tuple(sums) == (5, 5)


async def test_what_happened_in_the_past_is_kept_as_it_was(sender: Sender, desk: Desk, database: Database) -> None:
    long_ago = desk.clock() - timedelta(days=365)
    await sender.send(sender.item("a", occurred_at=rfc3339(long_ago)))
    async with database.as_system() as tx:
        event = (await tx.session.execute(select(UsageEvent))).scalar_one()
    assert abs((event.occurred_at - long_ago).total_seconds()) < 0.001


async def test_a_report_is_recorded_while_redis_is_away_and_its_hold_settled_later(
    sender: Sender, database: Database
) -> None:
    """The API under test has no Redis; the settlement and the total wait for the relay."""
    async with database.as_system() as tx:
        license_hash = (await tx.session.execute(text("SELECT license_key_hash FROM licenses"))).scalar_one()
    reservation = license_hash.hex()[:8] + new_id().hex[:24]
    (answer,) = await sender.send(sender.item("a", reservation_id=reservation))
    assert answer["success"]
    async with database.as_system() as tx:
        settlement = (await tx.session.execute(select(HoldSettlement))).scalar_one()
        event = (await tx.session.execute(select(UsageEvent))).scalar_one()
    assert (settlement.reservation_id, settlement.resource) == (reservation, "databases")
    assert event.reservation_id == reservation
