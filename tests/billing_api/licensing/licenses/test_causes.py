"""Causes of a suspension: each with its own end, and a license that is bought again after its end."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import select

from billing_api.access.staff_reason import StaffReason
from billing_api.licensing.licenses.issuing import Issued, Term, open_key
from billing_api.licensing.licenses.repository import lock
from billing_api.licensing.licenses.standing import bring_back, change_standing
from core.errors import IllegalMove
from core.ids import new_id
from core.licensing.state import Event, Status
from db.models.commerce import Checkout
from db.models.licensing import Interval, License, LicenseType, Plan
from db.unit_of_work import Database
from tests.billing_api.conftest import Client, FakeTime
from tests.support.databases import change, rows
from tests.support.people import Desk, Headers
from tests.support.servers import DatabaseUrls

PATH = "/api/v1/admin/licenses"


@pytest.fixture
async def admin(desk: Desk) -> Headers:
    return await desk.staff()


@pytest.fixture
async def issued(desk: Desk) -> Issued:
    return await desk.a_license(await desk.a_user())


class Scene:
    """A license and what happens to it."""

    def __init__(self, client: Client, desk: Desk, database: Database, issued: Issued) -> None:
        self.client, self.desk, self.database, self.license = client, desk, database, issued.license

    async def happens(self, event: Event, reason: str | None = None, message: str | None = None) -> Status:
        async with self.database.as_system() as tx:
            license_ = await lock(tx, self.license.id)
            await change_standing(tx, license_, event, StaffReason(reason, message), self.desk.clock())
        return license_.status

    async def shown(self) -> tuple[str, list[str]]:
        owner = self.desk.signed_in(self.license.user_id)
        body = (await self.client.get(f"/api/v1/licenses/{self.license.id}", headers=owner)).json()
        return body["status"], [one["cause"] for one in body["suspension_causes"]]


@pytest.fixture
def scene(client: Client, desk: Desk, database: Database, issued: Issued) -> Scene:
    return Scene(client, desk, database, issued)


async def test_a_payment_closes_its_own_cause_and_no_other(scene: Scene, clock: FakeTime) -> None:
    await scene.happens(Event.GRACE_ENDED)
    clock.now += timedelta(seconds=1)
    await scene.happens(Event.DISPUTED)
    assert await scene.shown() == ("suspended", ["unpaid", "disputed"])
    assert await scene.happens(Event.PAID) is Status.SUSPENDED
    assert await scene.shown() == ("suspended", ["disputed"])
    assert await scene.happens(Event.DISPUTE_WON) is Status.ACTIVE
    assert await scene.shown() == ("active", [])


async def test_a_won_dispute_does_not_lift_what_is_unpaid(scene: Scene) -> None:
    await scene.happens(Event.DISPUTED)
    await scene.happens(Event.GRACE_ENDED)
    assert await scene.happens(Event.DISPUTE_WON) is Status.SUSPENDED
    assert await scene.happens(Event.PAID) is Status.ACTIVE


async def test_staff_lift_every_cause(scene: Scene, client: Client, admin: Headers) -> None:
    for event in (Event.DISPUTED, Event.GRACE_ENDED, Event.REFUNDED):
        await scene.happens(event)
    path = f"{PATH}/{scene.license.id}"
    await client.post(f"{path}/suspend", json={"reason": "fraud?"}, headers=admin)
    assert (await scene.shown())[0] == "suspended"
    resumed = (await client.post(f"{path}/resume", json={"reason": "no fraud"}, headers=admin)).json()
    assert (resumed["status"], resumed["suspension_causes"]) == ("active", [])


async def test_owner_and_staff_read_causes_and_the_reason_is_for_staff(
    scene: Scene, client: Client, admin: Headers, desk: Desk
) -> None:
    since = desk.clock()
    words = {"reason": "a stolen card?", "message": "please call us"}
    path = f"{PATH}/{scene.license.id}"
    await client.post(f"{path}/suspend", json=words, headers=admin)
    for_staff = (await client.get(path, headers=admin)).json()["suspension_causes"]
    assert [(one["cause"], one["reason"], one["message"]) for one in for_staff] == [("staff", *words.values())]
    asked = {"feature": "create_database"}
    why = (await client.post(f"{path}/explain", json=asked, headers=admin)).json()
    assert why["suspension_causes"] == for_staff
    owner = desk.signed_in(scene.license.user_id)
    for answer in (
        await client.get(f"/api/v1/licenses/{scene.license.id}", headers=owner),
        await client.patch(f"/api/v1/licenses/{scene.license.id}", json={"label": "x"}, headers=owner),
    ):
        [own] = answer.json()["suspension_causes"]
        assert own == {"cause": "staff", "since": own["since"], "message": "please call us"}
        assert "a stolen card?" not in answer.text
        assert own["since"][:19] == since.isoformat()[:19]


async def test_a_cause_keeps_its_beginning_and_shows_the_latest_words(
    scene: Scene, clock: FakeTime, database_urls: DatabaseUrls
) -> None:
    await scene.happens(Event.SUSPENDED_BY_ADMIN, "first")
    clock.now += timedelta(days=1)
    await scene.happens(Event.SUSPENDED_BY_ADMIN, "second")
    [row] = await rows(database_urls, "SELECT since, reason, ended_at FROM license_suspensions")
    assert (row["since"], row["reason"], row["ended_at"]) == (clock.now - timedelta(days=1), "second", None)


async def test_what_goes_on_is_shown_with_the_words_of_its_cause(scene: Scene, database_urls: DatabaseUrls) -> None:
    await scene.happens(Event.SUSPENDED_BY_ADMIN, "fraud?", "please call")
    await scene.happens(Event.GRACE_ENDED, "unpaid for 7 days", "a renewal is unpaid")
    await scene.happens(Event.PAID)
    [row] = await rows(database_urls, "SELECT status_reason, status_message FROM licenses")
    assert tuple(row.values()) == ("fraud?", "please call")


async def test_causes_that_come_at_once_are_all_there(scene: Scene) -> None:
    events = [Event.DISPUTED, Event.GRACE_ENDED, Event.REFUNDED, Event.SUSPENDED_BY_ADMIN] * 5
    await asyncio.gather(*(scene.happens(event) for event in events))
    status, causes = await scene.shown()
    assert (status, sorted(causes)) == ("suspended", ["disputed", "refunded", "staff", "unpaid"])


async def test_nextpanel_is_told_when_the_state_changes_and_not_with_each_cause(
    scene: Scene, database_urls: DatabaseUrls
) -> None:
    for event in (Event.DISPUTED, Event.GRACE_ENDED, Event.PAID, Event.DISPUTE_WON):
        await scene.happens(event)
    jobs = await rows(database_urls, "SELECT job FROM outbox WHERE job ->> 'type' = 'align_account'")
    assert len(jobs) == 2


async def test_an_end_closes_every_cause_and_staffs_lines_stay(scene: Scene, database_urls: DatabaseUrls) -> None:
    await scene.happens(Event.SUSPENDED_BY_ADMIN, "fraud?")
    await scene.happens(Event.CANCELLED)
    [row] = await rows(database_urls, "SELECT reason, ended_at IS NOT NULL AS ended FROM license_suspensions")
    assert tuple(row.values()) == ("fraud?", True)


async def test_a_suspension_typed_in_by_hand_is_staffs(scene: Scene, database_urls: DatabaseUrls) -> None:
    await change(database_urls, "UPDATE licenses SET status = 'suspended'")
    assert await scene.happens(Event.PAID) is Status.SUSPENDED
    assert await scene.happens(Event.RESUMED_BY_ADMIN) is Status.ACTIVE


async def a_checkout(scene: Scene, plan: Plan) -> Checkout:
    checkout = Checkout(id=new_id(), user_id=scene.license.user_id, plan_id=plan.id, interval=Interval.MONTH)
    async with scene.database.as_system() as tx:
        tx.session.add(checkout)
    return checkout


async def buy_again(scene: Scene, plan: LicenseType = LicenseType.STARTER) -> License:
    async with scene.database.as_system() as tx:
        bought = (await tx.session.scalars(select(Plan).where(Plan.license_type == plan))).one()
    checkout = await a_checkout(scene, bought)
    now = scene.desk.clock()
    async with scene.database.as_system() as tx:
        license_ = await lock(tx, scene.license.id)
        term = Term(now, now + timedelta(days=31), now + timedelta(days=38))
        await bring_back(tx, license_, bought, term, checkout_id=checkout.id, now=now)
    return license_


@pytest.mark.parametrize("ended", [Event.CANCELLED, Event.LAPSED])
async def test_a_license_bought_again_has_its_id_its_key_and_a_new_account(
    scene: Scene, issued: Issued, database_urls: DatabaseUrls, ended: Event
) -> None:
    await change(
        database_urls,
        "UPDATE licenses SET provisioning = 'done', nextpanel_user_id = gen_random_uuid(), account_order = '{}'",
    )
    await change(
        database_urls,
        "INSERT INTO license_usage (license_id, user_id, resource, used, events, version, updated_at)"
        " SELECT id, user_id, 'databases', 12, 3, 1, updated_at FROM licenses",
    )
    await scene.happens(ended)
    license_ = await buy_again(scene)
    assert (license_.status, license_.license_type) == (Status.ACTIVE, LicenseType.STARTER)
    assert open_key(scene.desk.settings.secrets, license_) == issued.key
    assert (license_.account_generation, license_.nextpanel_user_id, license_.account_order) == (1, None, None)
    [used] = await rows(database_urls, "SELECT used, events FROM license_usage")
    [event] = await rows(database_urls, "SELECT action, count, used_after, seq FROM usage_events")
    assert (tuple(used.values()), tuple(event.values())) == ((0, 4), ("set", 0, 0, 4))
    jobs = await rows(database_urls, "SELECT 1 FROM outbox WHERE job ->> 'type' = 'provision'")
    assert len(jobs) == 2  # when it was issued, and now


@pytest.mark.parametrize("event", [Event.RESUMED_BY_ADMIN, Event.SUSPENDED_BY_ADMIN])
async def test_what_has_not_ended_cannot_be_bought_again(scene: Scene, event: Event) -> None:
    await scene.happens(event)
    with pytest.raises(IllegalMove):
        await buy_again(scene)


async def test_money_alone_brings_no_cancelled_license_back(scene: Scene) -> None:
    await scene.happens(Event.CANCELLED)
    with pytest.raises(IllegalMove):
        await scene.happens(Event.PAID)
    assert await scene.shown() == ("cancelled", [])
