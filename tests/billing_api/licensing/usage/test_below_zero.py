"""Totals below zero: a credit for overtaken reports only, which ends with a correction."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from redis.asyncio import Redis

from billing_api.licensing.licenses.issuing import Issued
from billing_api.licensing.usage.batch_counting import CheckedReport, Counted
from billing_api.licensing.usage.batch_recording import Recording, ReportOutcome
from billing_api.licensing.usage.corrections import correct_old
from billing_api.licensing.usage.holds import Holds
from core.hotstore.client import HotStoreClient
from core.hotstore.writer import Writer
from core.licensing.counting import UsageAction
from core.licensing.plan import Resource
from db.driver import SystemSessions
from db.models.licensing import LicenseType
from db.unit_of_work import Database
from tests.billing_api.conftest import Client
from tests.billing_api.licensing.usage.test_usage import an_api_key, report
from tests.support.databases import change, rows
from tests.support.people import Desk
from tests.support.servers import DatabaseUrls

BEGIN: Final = datetime(2026, 3, 10, 12, tzinfo=UTC)
MINUTES: Final = timedelta(minutes=1)
SECOND: Final = timedelta(seconds=1)


class Panel:
    """Reports about the databases of one license, at a time that the test sets."""

    def __init__(self, sessions: SystemSessions, redis: Redis, issued: Issued, urls: DatabaseUrls) -> None:
        self.now = BEGIN
        self.recording = Recording(sessions, Holds(Writer(HotStoreClient(redis))), lambda: self.now)
        self.license = issued.license
        self._urls = urls
        self._number = 0

    def says(
        self,
        action: str,
        count: int = 1,
        *,
        reserved: bool = False,
        occurred_at: datetime | None = None,
        resource: Resource = "databases",
    ) -> CheckedReport:
        self._number += 1
        return CheckedReport(
            self.license.license_key_hash,
            None,
            resource,
            UsageAction(action),
            count,
            f"r-{self._number}",
            bytes(32),
            f"hold-{self._number}" if reserved else None,
            occurred_at,
        )

    async def report(self, action: str, count: int = 1, **more: Any) -> ReportOutcome:
        (outcome,) = await self.recording.record([self.says(action, count, **more)])
        return outcome

    async def chain(self) -> list[tuple[str, int, int]]:
        """Action, count and total afterwards of each event; they add up to the total."""
        events = await rows(self._urls, "SELECT * FROM usage_events WHERE resource = 'databases' ORDER BY seq")
        used = 0
        for number, event in enumerate(events, 1):
            change_of = {"created": event["count"], "deleted": -event["count"], "corrected": event["count"]}
            used = event["count"] if event["action"] == "set" else used + change_of[event["action"]]
            assert (event["seq"], event["used_after"]) == (number, used)
        total = await self.total()
        assert (total["used"], total["events"]) == (used, len(events))
        return [(event["action"], event["count"], event["used_after"]) for event in events]

    async def total(self) -> dict[str, Any]:
        [total] = await rows(self._urls, "SELECT * FROM license_usage WHERE resource = 'databases'")
        return dict(total)


@pytest.fixture
async def redis(valkey: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(valkey) as redis:
        await Writer(HotStoreClient(redis)).load_functions()
        yield redis


@pytest.fixture
async def panel(redis: Redis, desk: Desk, database_urls: DatabaseUrls) -> AsyncIterator[Panel]:
    """Of a license with five databases."""
    issued = await desk.a_license(await desk.a_user(), LicenseType.STARTER)
    sessions = SystemSessions(database_urls.api, name="test")
    yield Panel(sessions, redis, issued, database_urls)
    await sessions.close()


async def test_a_total_below_zero_is_flagged_with_its_instant(panel: Panel) -> None:
    await panel.report("created", 2)
    assert (await panel.total())["below_since"] is None
    await panel.report("deleted", 5)
    panel.now += MINUTES
    assert await panel.report("deleted") == Counted(5, overage=False)
    total = await panel.total()
    assert (total["used"], total["below_since"], total["corrected_at"]) == (-4, BEGIN, None)


async def test_what_was_made_with_a_reservation_counts_from_zero(panel: Panel) -> None:
    """No later report finds a credit."""
    await panel.report("deleted", 1000)
    panel.now += SECOND
    assert await panel.report("created", reserved=True) == Counted(4, overage=False)
    assert await panel.report("created", reserved=True) == Counted(3, overage=False)
    assert await panel.chain() == [
        ("deleted", 1000, -1000),
        ("corrected", 1000, 0),
        ("created", 1, 1),
        ("created", 1, 2),
    ]
    total = await panel.total()
    assert (total["below_since"], total["corrected_at"]) == (None, BEGIN + SECOND)


async def test_the_correction_is_named_by_its_total_and_instant(panel: Panel, database_urls: DatabaseUrls) -> None:
    panel.now += timedelta(microseconds=7)
    await panel.report("deleted", 2)
    await panel.report("created", reserved=True)
    [event] = await rows(database_urls, "SELECT * FROM usage_events WHERE action = 'corrected'")
    assert event["idempotency_key"] == f"floor:{panel.license.id}:databases:2026-03-10T12:00:00.000007Z"
    assert (event["reservation_id"], event["is_overage"], event["used_after"]) == (None, False, 0)
    assert event["user_id"] == panel.license.user_id


@pytest.mark.parametrize(
    ("after", "occurred", "reserved", "draws"),
    [
        (10 * MINUTES, None, False, True),
        (10 * MINUTES + SECOND, None, False, False),
        (10 * MINUTES, SECOND, False, True),
        (SECOND, None, True, False),
        (SECOND, 0 * SECOND, True, False),
        (SECOND, -SECOND, True, True),
        (30 * MINUTES, -SECOND, True, True),
        (30 * MINUTES, -SECOND, False, True),
        (30 * MINUTES, SECOND, False, False),
    ],
)
async def test_only_a_report_that_was_overtaken_draws_on_the_credit(
    panel: Panel, after: timedelta, occurred: timedelta | None, reserved: bool, draws: bool
) -> None:
    """`after`: when it arrives; `occurred`: when it says that it happened. Both count from the fall below 0."""
    await panel.report("deleted", 3)
    panel.now += after
    occurred_at = None if occurred is None else BEGIN + occurred
    await panel.report("created", 2, reserved=reserved, occurred_at=occurred_at)
    assert (await panel.total())["used"] == (-1 if draws else 2)
    assert [action for action, _, _ in await panel.chain()] == (
        ["deleted", "created"] if draws else ["deleted", "corrected", "created"]
    )


async def test_overtaken_reports_bring_it_back_without_a_correction(panel: Panel) -> None:
    await panel.report("deleted", 2)
    await panel.report("created", 3)
    total = await panel.total()
    assert (total["used"], total["below_since"], total["corrected_at"]) == (1, None, None)
    await panel.report("created", reserved=True)
    assert [action for action, _, _ in await panel.chain()] == ["deleted", "created", "created"]


async def test_a_full_count_needs_no_correction_and_forgets_the_last_one(panel: Panel) -> None:
    await panel.report("deleted", 2)
    assert await panel.report("set", 4) == Counted(1, overage=False)
    assert (await panel.total())["below_since"] is None
    await panel.report("deleted", 9)
    await panel.report("created", reserved=True)
    assert (await panel.total())["corrected_at"] == BEGIN
    await panel.report("set", 3)
    assert (await panel.total())["corrected_at"] is None
    assert [action for action, _, _ in await panel.chain()] == [
        "deleted",
        "set",
        "deleted",
        "corrected",
        "created",
        "set",
    ]


async def test_the_history_ends_with_the_report_and_not_with_its_correction(panel: Panel) -> None:
    """Both have one instant; of events of one instant the later one counts."""
    await panel.report("deleted", 2)
    panel.now += MINUTES
    await panel.report("created", reserved=True, occurred_at=BEGIN + SECOND)
    last = await rows(
        panel._urls, "SELECT used_after, occurred_at FROM usage_events ORDER BY occurred_at DESC, seq DESC LIMIT 1"
    )
    assert last == [{"used_after": 1, "occurred_at": BEGIN + SECOND}]


async def test_a_batch_may_pass_below_zero_and_be_corrected_more_than_once(panel: Panel) -> None:
    """No time passes between them, and still each correction has its own key."""
    twice = [panel.says("deleted", 5), panel.says("created", reserved=True)]
    twice += [panel.says("deleted", 5), panel.says("created", reserved=True), panel.says("deleted", 3)]
    outcomes = await panel.recording.record([*twice, panel.says("created", 7, resource="emails")])
    assert all(isinstance(outcome, Counted) for outcome in outcomes)
    await panel.report("created", reserved=True)
    await panel.report("deleted", 2)
    await panel.report("created", reserved=True)
    assert [action for action, _, _ in await panel.chain()] == ["deleted", "corrected", "created"] * 4
    assert (await panel.total())["used"] == 1


async def test_a_report_that_comes_again_is_answered_and_corrects_nothing(panel: Panel) -> None:
    await panel.report("deleted", 5)
    made = panel.says("created", reserved=True)
    (first,) = await panel.recording.record([made])
    await panel.report("deleted", 5)
    (again,) = await panel.recording.record([made])
    assert isinstance(first, Counted)
    assert isinstance(again, Counted)
    assert (again.remaining, again.replayed) == (first.remaining, True)
    assert (await panel.total())["used"] == -4


class TestTheWorker:
    async def test_corrects_what_no_overtaken_report_is_to_be_expected_for(
        self, panel: Panel, database: Database, database_urls: DatabaseUrls
    ) -> None:
        await panel.report("deleted", 7)
        panel.now += 10 * MINUTES - SECOND
        assert await correct_old(database, lambda: panel.now) == 0
        panel.now += SECOND
        assert await correct_old(database, lambda: panel.now) == 1
        assert await correct_old(database, lambda: panel.now) == 0
        assert await panel.chain() == [("deleted", 7, -7), ("corrected", 7, 0)]
        total = await panel.total()
        assert (total["below_since"], total["corrected_at"]) == (None, panel.now)
        [event] = await rows(database_urls, "SELECT idempotency_key FROM usage_events WHERE action = 'corrected'")
        assert event["idempotency_key"] == f"floor:{panel.license.id}:databases:2026-03-10T12:00:00.000000Z"
        waiting = await rows(database_urls, "SELECT count(*) AS n FROM outbox WHERE job ->> 'type' = 'project_usage'")
        assert waiting[0]["n"] >= 2  # the corrected total is projected like any other

    async def test_names_it_as_a_report_does(
        self, panel: Panel, database: Database, database_urls: DatabaseUrls
    ) -> None:
        """So only one of the two is written, under any concurrency."""
        names = []
        for by_worker in (False, True):
            await change(database_urls, "DELETE FROM usage_events")
            await change(database_urls, "DELETE FROM license_usage")
            panel.recording._newest = BEGIN - SECOND
            panel.now = BEGIN
            await panel.report("deleted", 7)
            panel.now += 10 * MINUTES
            if by_worker:
                assert await correct_old(database, lambda: panel.now) == 1
            else:
                await panel.report("created", reserved=True)
            names += await rows(
                database_urls, "SELECT idempotency_key, body_hash, count FROM usage_events WHERE action = 'corrected'"
            )
        assert names[0] == names[1]

    async def test_and_a_report_that_come_together_correct_it_once(self, panel: Panel, database: Database) -> None:
        """The worker is faster: it corrects between the read and the write of the report."""
        await panel.report("deleted", 7)
        panel.now += 11 * MINUTES
        hold = panel.recording._holds.pin

        async def overtaken(holds: Any) -> Any:
            panel.recording._holds.pin = hold  # type: ignore[method-assign]
            assert await correct_old(database, lambda: panel.now) == 1
            return await hold(holds)

        panel.recording._holds.pin = overtaken  # type: ignore[method-assign]
        assert await panel.report("created", reserved=True) == Counted(4, overage=False)
        assert await panel.chain() == [("deleted", 7, -7), ("corrected", 7, 0), ("created", 1, 1)]


async def test_whoever_writes_a_total_below_zero_flags_it(panel: Panel, database_urls: DatabaseUrls) -> None:
    """An older release, or an operator in psql."""
    await panel.report("created", 1)
    await change(database_urls, "UPDATE license_usage SET used = -3")
    assert (await panel.total())["below_since"] is not None
    await change(database_urls, "UPDATE license_usage SET used = 0")
    assert (await panel.total())["below_since"] is None


@pytest.mark.parametrize("in_a_list", [False, True])
async def test_no_report_takes_the_name_of_a_correction(client: Client, desk: Desk, in_a_list: bool) -> None:
    issued = await desk.a_license(await desk.a_user(), LicenseType.STARTER)
    body: dict[str, Any] = {"license_key": issued.key, "resource": "databases", "action": "created", "count": 1}
    key = f"floor:{issued.license.id}:databases:2026-03-10T12:00:00.000000Z"
    content = {"items": [body | {"idempotency_key": key}]} if in_a_list else body
    status, told = await report(client, await an_api_key(desk), content, "a-list" if in_a_list else key)
    problem = told["items"][0]["problem"] if in_a_list else told
    assert (200 if in_a_list else 400) == status
    assert (problem["code"], problem["errors"][0]["field"]) == ("invalid_input", "idempotency_key")


async def test_no_report_is_a_correction(client: Client, desk: Desk) -> None:
    issued = await desk.a_license(await desk.a_user(), LicenseType.STARTER)
    body = {"license_key": issued.key, "resource": "databases", "action": "corrected", "count": 1}
    assert (await report(client, await an_api_key(desk), body))[0] == 400


async def test_staff_find_it_below_zero_and_after_its_correction(
    client: Client, desk: Desk, panel: Panel, database_urls: DatabaseUrls
) -> None:
    staff = await desk.staff()

    async def found(overage: str) -> list[str]:
        answer = await client.get("/api/v1/admin/licenses", params={"overage": overage}, headers=staff)
        return [item["id"] for item in answer.json()["items"]]

    me = str(panel.license.id)
    panel.now = desk.clock()
    await panel.report("created")
    assert (await found("true"), await found("false")) == ([], [me])
    await panel.report("deleted", 3)
    assert (await found("true"), await found("false")) == ([me], [])
    await panel.report("created", reserved=True)
    assert (await found("true"), await found("false")) == ([me], [])
    await change(database_urls, "UPDATE license_usage SET corrected_at = corrected_at - interval '31 days'")
    assert await found("true") == []
    await panel.report("deleted", 3)
    await panel.report("created", reserved=True)
    assert await found("true") == [me]
    await panel.report("set", 1)
    assert await found("true") == []
    await panel.report("set", 6)
    assert await found("true") == [me]
