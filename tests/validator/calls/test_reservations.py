"""Reservations, through the real process and the real functions."""

import asyncio
from typing import Any

import httpx
import pytest

from core.clock import unix_time
from core.hotstore import keys
from core.hotstore.writer import Hold
from core.licensing.state import Status
from tests.validator.stage import License, Panel, Projection, eventually


async def release(panel: Panel, issued: License, reservation_id: str) -> dict[str, Any]:
    content = {"license_key": issued.key, "reservation_id": reservation_id}
    response = await panel.call("release", content)
    assert response.status_code == 200
    answer: dict[str, Any] = response.json()
    return answer


def ask_for(issued: License, count: int) -> dict[str, Any]:
    return {"license_key": issued.key, "resource": "domains", "count": count, "ttl": 30}


async def remaining(panel: Panel, issued: License, number: int) -> None:
    """Waits until the verdict says that so many domains are left."""
    await eventually(lambda: panel.verdict(issued, "create_domain"), lambda answer: answer["remaining_quota"] == number)


class TestReserve:
    async def test_takes_from_what_is_left(self, panel: Panel, projection: Projection) -> None:
        issued = await projection.license()
        await projection.use(issued, "domains", 1, 1)
        answer = await panel.reserve(issued)
        assert answer["granted"] is True
        assert answer["remaining_quota"] == 1
        assert answer["code"] == "VALID"
        assert len(answer["reservation_id"]) == 32
        await remaining(panel, issued, 1)

    async def test_grants_a_racing_crowd_exactly_what_is_left(self, panel: Panel, projection: Projection) -> None:
        issued = await projection.license()
        answers = await asyncio.gather(*[panel.reserve(issued) for _ in range(40)])
        assert sum(answer["granted"] for answer in answers) == 3
        refused = [answer for answer in answers if not answer["granted"]]
        assert {(answer["code"], answer["reservation_id"]) for answer in refused} == {("QUOTA_EXCEEDED", None)}
        assert len({answer["reservation_id"] for answer in answers}) == 4

    async def test_of_more_than_is_left_takes_nothing(self, panel: Panel, projection: Projection) -> None:
        issued = await projection.license()
        answer = await panel.reserve(issued, count=4)
        assert (answer["granted"], answer["remaining_quota"]) == (False, 3)
        assert (await panel.reserve(issued, count=3))["granted"]

    async def test_of_the_unlimited_always_succeeds(self, panel: Panel, projection: Projection) -> None:
        issued = await projection.license()
        answer = await panel.reserve(issued, "emails", count=1_000_000)
        assert (answer["granted"], answer["remaining_quota"]) == (True, None)

    async def test_of_what_the_license_does_not_have_is_refused(self, panel: Panel, projection: Projection) -> None:
        issued = await projection.license(limits={"accounts": 1})
        answer = await panel.reserve(issued)
        assert (answer["granted"], answer["code"]) == (False, "FEATURE_NOT_INCLUDED")

    @pytest.mark.parametrize(
        ("changes", "code"),
        [
            ({"status": Status.SUSPENDED}, "SUSPENDED"),
            ({"valid_until": 1.0}, "EXPIRED"),
            ({"fingerprint_required": True}, "FINGERPRINT_REQUIRED"),
            ({"tombstone": True}, "NOT_FOUND"),
        ],
    )
    async def test_needs_a_license_that_stands(
        self, panel: Panel, projection: Projection, changes: dict[str, Any], code: str
    ) -> None:
        issued = await projection.license(**changes)
        answer = await panel.reserve(issued)
        assert (answer["granted"], answer["code"], answer["remaining_quota"]) == (False, code, 0)

    async def test_follows_a_change_it_has_not_heard_of(self, panel: Panel, projection: Projection) -> None:
        """The function grants only for the document that was checked, so a suspension counts from its first moment."""
        issued = await projection.license()
        for _ in range(20):
            assert (await panel.verdict(issued))["code"] == "VALID"
            issued = await projection.change(issued, status=Status.SUSPENDED)
            assert (await panel.reserve(issued))["code"] == "SUSPENDED"
            issued = await projection.change(issued, status=Status.ACTIVE)

    async def test_in_grace_is_granted(self, panel: Panel, projection: Projection) -> None:
        issued = await projection.license(valid_until=1.0, grace_until=4e9)
        assert (await panel.reserve(issued))["code"] == "GRACE"


class TestRepeats:
    async def test_with_the_same_idempotency_key_hold_once(self, panel: Panel, projection: Projection) -> None:
        issued = await projection.license()
        answers = [await panel.reserve(issued, idempotency_key="order-1") for _ in range(3)]
        assert len({answer["reservation_id"] for answer in answers}) == 1
        assert {answer["remaining_quota"] for answer in answers} == {2}

    async def test_of_the_same_signed_request_hold_once(
        self, panel: Panel, client: httpx.AsyncClient, projection: Projection
    ) -> None:
        issued = await projection.license()
        content = {"license_key": issued.key, "resource": "domains", "count": 1, "ttl": 30}
        first = await panel.call("reserve", content)
        again = await client.send(first.request)
        assert again.json()["reservation_id"] == first.json()["reservation_id"]
        assert again.json()["remaining_quota"] == 2

    async def test_with_another_content_are_refused(self, panel: Panel, projection: Projection) -> None:
        issued = await projection.license()
        await panel.reserve(issued, idempotency_key="order-1")
        content = {"license_key": issued.key, "resource": "domains", "count": 2, "ttl": 30}
        response = await panel.call("reserve", content, idempotency_key="order-1")
        assert (response.status_code, response.json()["code"]) == (409, "reservation_conflict")

    async def test_after_its_report_hold_nothing(self, panel: Panel, projection: Projection) -> None:
        issued = await projection.license()
        held = await panel.reserve(issued, idempotency_key="order-1")
        await projection.use(issued, "domains", 1, 1, held["reservation_id"])
        response = await panel.call("reserve", ask_for(issued, 1), idempotency_key="order-1")
        assert (response.status_code, response.json()["code"]) == (409, "reservation_ended")
        await remaining(panel, issued, 2)

    async def test_of_another_panel_are_its_own(self, panel: Panel, projection: Projection) -> None:
        issued = await projection.license()
        other = Panel(panel._client, await projection.api_key())
        mine = await panel.reserve(issued, idempotency_key="1")
        theirs = await other.reserve(issued, idempotency_key="1")
        assert mine["reservation_id"] != theirs["reservation_id"]
        assert theirs["remaining_quota"] == 1


async def test_a_reserve_sent_again_after_its_release_holds_nothing(
    panel: Panel, client: httpx.AsyncClient, projection: Projection
) -> None:
    issued = await projection.license()
    first = await panel.call("reserve", ask_for(issued, 1))
    await release(panel, issued, first.json()["reservation_id"])
    again = await client.send(first.request)
    told = again.json()
    assert (again.status_code, told["code"], told["conclusive"]) == (409, "reservation_ended", True)
    assert "Retry-After" not in again.headers
    await remaining(panel, issued, 3)


class TestTheEndOfAHold:
    async def test_comes_by_itself(self, panel: Panel, projection: Projection) -> None:
        issued = await projection.license()
        assert (await panel.reserve(issued, count=3, ttl=1))["granted"]
        await remaining(panel, issued, 0)
        await remaining(panel, issued, 3)  # though nobody wrote anything
        await projection.writer.publish_synced(1, unix_time() + keys.HOLD_MARGIN)
        answer = await eventually(
            lambda: panel.call("reserve", ask_for(issued, 3)), lambda said: said.status_code == 200
        )
        assert answer.json()["granted"]

    async def test_is_in_doubt_until_the_projection_has_passed_it(self, panel: Panel, projection: Projection) -> None:
        """It may have been reported: whether its place is free is unknown, while the others are free."""
        issued = await projection.license()
        assert (await panel.reserve(issued, count=2, ttl=1))["granted"]
        await remaining(panel, issued, 3)
        response = await panel.call("reserve", ask_for(issued, 3))
        problem = response.json()
        assert (response.status_code, problem["code"], problem["conclusive"]) == (503, "not_ready", False)
        assert response.headers["Retry-After"] == "1"
        assert (await panel.reserve(issued, count=1))["granted"]

    async def test_comes_by_release(self, panel: Panel, projection: Projection) -> None:
        issued = await projection.license()
        held = await panel.reserve(issued, count=2)
        answer = await release(panel, issued, held["reservation_id"])
        assert (answer["released"], answer["code"]) == (True, "RELEASED")
        await remaining(panel, issued, 3)
        assert (await release(panel, issued, held["reservation_id"]))["code"] == "GONE"

    async def test_comes_by_a_report_and_nothing_counts_twice(self, panel: Panel, projection: Projection) -> None:
        issued = await projection.license()
        held = await panel.reserve(issued, count=2)
        hold = Hold(issued.hash, held["reservation_id"], "domains")
        assert await projection.writer.pin([hold]) == ["pinned"]
        await projection.use(issued, "domains", 2, 1, held["reservation_id"])
        for _ in range(20):
            assert (await panel.verdict(issued, "create_domain"))["remaining_quota"] == 1

    async def test_waits_for_a_report_under_way(self, panel: Panel, projection: Projection) -> None:
        issued = await projection.license()
        held = await panel.reserve(issued, ttl=1)
        hold = Hold(issued.hash, held["reservation_id"], "domains")
        assert await projection.writer.pin([hold]) == ["pinned"]
        answer = await release(panel, issued, held["reservation_id"])
        assert (answer["released"], answer["code"]) == (False, "PINNED")

    async def test_is_not_another_license_s_business(self, panel: Panel, projection: Projection) -> None:
        issued, other = await projection.license(), await projection.license()
        held = await panel.reserve(issued)
        assert (await release(panel, other, held["reservation_id"]))["code"] == "GONE"
        assert (await release(panel, issued._replace(key="NP-0"), held["reservation_id"]))["code"] == "NOT_FOUND"
