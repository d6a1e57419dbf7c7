"""Extensions and limits by staff: renewal, plan change and cancellation keep them."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from core.clock import rfc3339
from core.licensing.state import Status
from db.models.identity import Role
from db.models.licensing import License
from db.models.messaging import AuditRow
from db.unit_of_work import Database
from tests.billing_api.conftest import Buying, FakeTime
from tests.support.buyer import Buyer
from tests.support.people import Desk, Headers

pytestmark = pytest.mark.usefixtures("on_sale")

PATH = "/api/v1/admin/licenses"
WEEK = timedelta(weeks=1)


@pytest.fixture
async def admin(desk: Desk) -> Headers:
    return await desk.staff()


async def give(one: Buyer, admin: Headers, verb: str, **order: Any) -> dict[str, Any]:
    answer = await one.client.post(f"{PATH}/{one.license_id}/{verb}", json={"reason": "agreed", **order}, headers=admin)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def expiry(one: Buyer) -> datetime:
    return datetime.fromisoformat((await one.license())["expiry_date"])


async def test_a_renewal_never_shortens_what_staff_gave(buyer: Buying, admin: Headers) -> None:
    one = await buyer("Starter")
    end = await expiry(one)
    later = end + 8 * WEEK
    shown = await give(one, admin, "extend", expiry_date=rfc3339(later))
    assert datetime.fromisoformat(shown["expiry_date"]) == datetime.fromisoformat(shown["extended_until"])
    for _ in range(3):  # the third renewal reaches further than the extension
        await one.later(7200)
        await one.told()
        paid_until = datetime.fromisoformat((await one.subscription())["current_period_end"])
        assert await expiry(one) == max(paid_until, datetime.fromisoformat(shown["extended_until"]))
    assert await expiry(one) > later


async def test_what_staff_gave_outlives_the_subscription(buyer: Buying, admin: Headers, database: Database) -> None:
    one = await buyer("Starter")
    later = await expiry(one) + WEEK
    await give(one, admin, "extend", expiry_date=rfc3339(later))
    await one.ask_stripe("DELETE", f"subscriptions/{one.stripe_id}")
    await one.told()
    shown = await one.license()
    assert (shown["status"], shown["auto_renew"]) == ("active", False)
    assert (await one.subscription())["status"] == "cancelled"


async def test_a_year_that_becomes_a_dearer_month_ends_with_the_month(buyer: Buying) -> None:
    """A paid end goes with its period; only an extension by staff stays."""
    one = await buyer("Starter", "year")
    after = await one.done("change", "Professional", "month")
    assert (await one.license())["expiry_date"] == after["current_period_end"]


async def test_an_extension_is_written_down_once(buyer: Buying, admin: Headers, database: Database) -> None:
    one = await buyer("Starter")
    order = {"expiry_date": rfc3339(await expiry(one) + WEEK), "reason": "a day of outage"}
    headers = admin | {"Idempotency-Key": "gift"}
    first, second = [
        await one.client.post(f"{PATH}/{one.license_id}/extend", json=order, headers=headers) for _ in range(2)
    ]
    assert first.json() == second.json()
    assert second.headers["idempotency-replayed"] == "true"
    async with database.as_system() as tx:
        audit = (await tx.session.scalars(select(AuditRow.detail).where(AuditRow.action == "license.extended"))).all()
    assert [(row["reason"], row["after"][:10]) for row in audit] == [("a day of outage", order["expiry_date"][:10])]


@pytest.mark.parametrize("status", [Status.EXPIRED, Status.SUSPENDED, Status.CANCELLED])
async def test_an_expired_license_lives_again_and_a_suspension_stays(
    buyer: Buying, admin: Headers, database: Database, status: Status
) -> None:
    one = await buyer("Starter")
    async with database.as_system() as tx:
        (await tx.session.execute(select(License))).scalar_one().status = status
    order = {"expiry_date": rfc3339(await expiry(one) + WEEK), "reason": "x"}
    answer = await one.client.post(f"{PATH}/{one.license_id}/extend", json=order, headers=admin)
    told = {"expired": (200, "active"), "suspended": (200, "suspended"), "cancelled": (409, "illegal_move")}
    assert (answer.status_code, answer.json()["status" if answer.is_success else "code"]) == told[status]


async def test_ends_that_are_no_extension_are_refused(
    buyer: Buying, admin: Headers, clock: FakeTime, desk: Desk
) -> None:
    one = await buyer("Starter")
    wrong = [
        {"expiry_date": rfc3339(await expiry(one)), "reason": "x"},
        {"expiry_date": rfc3339(clock() - WEEK), "reason": "x"},
        {"expiry_date": "2030-01-01T00:00:00", "reason": "x"},
        {"expiry_date": rfc3339(await expiry(one) + WEEK)},
    ]
    for order in wrong:
        answer = await one.client.post(f"{PATH}/{one.license_id}/extend", json=order, headers=admin)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_input")
        assert answer.json()["errors"]
    endless = (await desk.a_license(one.user_id)).license.id
    order = {"expiry_date": rfc3339(clock() + WEEK), "reason": "x"}
    assert (await one.client.post(f"{PATH}/{endless}/extend", json=order, headers=admin)).status_code == 409
    support = await desk.staff(Role.SUPPORT)
    assert (await one.client.post(f"{PATH}/{one.license_id}/extend", json=order, headers=support)).status_code == 403


async def test_limits_set_by_hand_outlive_renewals_and_plan_changes(buyer: Buying, admin: Headers) -> None:
    one = await buyer("Professional")
    shown = await give(one, admin, "limits", max_databases=60, max_emails=0, max_domains=25)
    assert shown["limit_overrides"] == {"max_databases": {"at_least": 60}, "max_emails": {"at_most": 0}}
    await one.later(7200)
    await one.told()
    renewed = await one.license()
    assert (renewed["max_databases"], renewed["max_emails"], renewed["max_domains"]) == (60, 0, 25)
    await one.done("change", "Enterprise")
    bigger = await one.license()
    assert (bigger["max_databases"], bigger["max_emails"], bigger["max_domains"]) == (None, 0, None)
    preview = (await one.done("preview-change", "Starter"))["limits"]
    assert (preview["databases"]["limit"], preview["emails"]["limit"], preview["domains"]["limit"]) == (60, 0, 3)
    await one.done("change", "Starter")
    await one.later(7200)
    await one.told()
    smaller = await one.license()
    assert (smaller["max_databases"], smaller["max_emails"], smaller["max_domains"]) == (60, 0, 3)
    taken_back = await give(one, admin, "limits", max_databases=5, max_emails=10)
    assert taken_back["limit_overrides"] == {}
