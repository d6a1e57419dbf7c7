"""Mirror: events are hints, objects are facts. Order, duplicates and races do not matter."""

import itertools
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import delete, func, select, update

from billing_api.commerce.plans.service import PlanService
from billing_api.commerce.stripe_mirror.granting import CannotMirror
from billing_api.commerce.stripe_mirror.service import Mirror, StripeObject
from billing_api.gateways.stripe.client import StripeGateway
from billing_api.operations.webhooks.service import subject_of
from core.billing_policy import DEFAULT
from core.licensing.state import Status
from db.models.commerce import Invoice, Payment, Subscription, SubscriptionStatus
from db.models.licensing import License, Plan, PlanPrice
from db.models.messaging import OutboxRow
from db.unit_of_work import Database
from tests.billing_api.conftest import Client
from tests.support.buyer import at_once
from tests.support.people import Desk
from tests.support.stripe import cancel_subscription, change_subscription, objects, pay

pytestmark = [pytest.mark.usefixtures("on_sale"), pytest.mark.calendar]

Bought = tuple[str, list[StripeObject]]


@pytest.fixture
async def bought(client: Client, desk: Desk, browser: httpx.AsyncClient, stripe_simulator: str) -> Bought:
    """A purchase that is paid at Stripe and not mirrored yet: its customer, and the objects of its events."""
    user_id = await desk.a_user()
    plan = (await client.get("/api/v1/plans")).json()["items"][0]
    order = {"plan_id": plan["id"], "interval": "month"}
    checkout = (await client.post("/api/v1/checkout/sessions", json=order, headers=desk.signed_in(user_id))).json()
    assert (await pay(browser, checkout["url"])).status_code == 303
    email = f"{user_id.hex}@example.com"
    customer = (await objects(browser, stripe_simulator, "customers", email=email))[0]["id"]
    events = await objects(browser, stripe_simulator, "events", limit="100")
    subjects = [subject for event in events if (subject := subject_of(event)) and subject.customer_id == customer]
    assert {subject.kind for subject in subjects} == {"checkout.session", "subscription", "invoice"}
    return customer, list(dict.fromkeys(subjects))


async def state(database: Database) -> tuple[int, ...]:
    tables = (License, Subscription, Invoice, Payment)
    async with database.as_system() as tx:
        return tuple([await tx.session.scalar(select(func.count()).select_from(table)) or 0 for table in tables])


async def the_license(database: Database) -> License:
    async with database.as_system() as tx:
        return (await tx.session.execute(select(License))).scalar_one()


@pytest.mark.parametrize("kind", ["checkout.session", "subscription", "invoice"])
async def test_every_event_alone_tells_the_whole_purchase(
    mirror: Mirror, bought: Bought, database: Database, kind: str
) -> None:
    _, subjects = bought
    await mirror.mirror(next(subject for subject in subjects if subject.kind == kind))
    assert await state(database) == (1, 1, 1, 1)


async def test_a_plan_whose_price_was_edited_still_licenses_who_bought_at_the_old_one(
    mirror: Mirror, bought: Bought, database: Database, stripe: StripeGateway
) -> None:
    _, subjects = bought
    async with database.as_system() as tx:
        starter = (await tx.session.execute(select(Plan).where(Plan.name == "Starter"))).scalar_one()
        before = (starter.price_monthly, starter.currency, starter.stripe_price_id_monthly)
        starter.price_monthly, starter.currency = 3900, "eur"
    try:
        assert await PlanService(database).publish(stripe) == 1
        async with database.as_system() as tx:
            edited = (await tx.session.execute(select(Plan).where(Plan.name == "Starter"))).scalar_one()
            assert edited.stripe_price_id_monthly != before[2]
        for subject in subjects:
            await mirror.mirror(subject)
        assert await state(database) == (1, 1, 1, 1)
    finally:
        async with database.as_system() as tx:
            starter = (await tx.session.execute(select(Plan).where(Plan.name == "Starter"))).scalar_one()
            starter.price_monthly, starter.currency, _ = before
        await PlanService(database).publish(stripe)


async def test_a_price_that_is_no_plans_is_a_fault_that_stays_visible(
    mirror: Mirror, bought: Bought, database: Database
) -> None:
    _, subjects = bought
    async with database.as_system() as tx:
        await tx.session.execute(delete(PlanPrice))
        await tx.session.execute(update(Plan).values(stripe_price_id_monthly=None))
    with pytest.raises(CannotMirror, match="no plan has"):
        await mirror.mirror(subjects[0])
    assert await state(database) == (0, 0, 0, 0)


async def test_in_every_order_and_ten_times_it_is_one_license(
    mirror: Mirror, bought: Bought, database: Database
) -> None:
    _, subjects = bought
    for order in itertools.permutations(subjects):
        for subject in order:
            await mirror.mirror(subject)
    await at_once(mirror, subjects * 10)
    assert await state(database) == (1, 1, 1, 1)
    async with database.as_system() as tx:
        jobs = (await tx.session.execute(select(OutboxRow.job))).scalars().all()
    assert [job["type"] for job in jobs].count("provision") == 1


async def test_all_at_once_it_is_one_license(mirror: Mirror, bought: Bought, database: Database) -> None:
    _, subjects = bought
    await at_once(mirror, subjects * 5)
    assert await state(database) == (1, 1, 1, 1)


async def test_a_mirror_that_changes_nothing_projects_nothing(
    mirror: Mirror, bought: Bought, database: Database
) -> None:
    _, subjects = bought
    await mirror.mirror(subjects[0])
    version = (await the_license(database)).version
    for subject in subjects:
        await mirror.mirror(subject)
    assert (await the_license(database)).version == version


async def test_the_term_is_the_paid_period_and_seven_days_of_grace(
    mirror: Mirror, bought: Bought, database: Database
) -> None:
    _, subjects = bought
    await mirror.mirror(subjects[0])
    license_ = await the_license(database)
    assert license_.expiry_date is not None
    assert license_.expiry_date - license_.activation_date >= timedelta(days=28)
    assert license_.grace_until == license_.expiry_date + DEFAULT.grace


async def test_a_wanted_end_takes_the_grace_away_and_keeps_the_period(
    mirror: Mirror, bought: Bought, database: Database, browser: httpx.AsyncClient, stripe_simulator: str
) -> None:
    _, subjects = bought
    await mirror.mirror(subjects[0])
    subscription_id = next(subject.id for subject in subjects if subject.kind == "subscription")
    before = await the_license(database)
    await change_subscription(browser, stripe_simulator, subscription_id, cancel_at_period_end="true")
    await at_once(mirror, subjects)
    after = await the_license(database)
    assert (after.status, after.expiry_date) == (Status.ACTIVE, before.expiry_date)
    assert (after.grace_until, after.auto_renew) == (None, False)
    await change_subscription(browser, stripe_simulator, subscription_id, cancel_at_period_end="false")
    await mirror.mirror(subjects[0])
    again = await the_license(database)
    assert (again.grace_until, again.auto_renew) == (before.grace_until, True)


async def test_an_ended_subscription_cancels_its_license_once(
    mirror: Mirror, bought: Bought, database: Database, browser: httpx.AsyncClient, stripe_simulator: str
) -> None:
    _, subjects = bought
    await mirror.mirror(subjects[0])
    subscription_id = next(subject.id for subject in subjects if subject.kind == "subscription")
    await cancel_subscription(browser, stripe_simulator, subscription_id)
    for subject in subjects * 2:
        await mirror.mirror(subject)
    assert (await the_license(database)).status is Status.CANCELLED
    async with database.as_system() as tx:
        row = (await tx.session.execute(select(Subscription))).scalar_one()
        jobs = (await tx.session.execute(select(OutboxRow.job))).scalars().all()
    assert row.status is SubscriptionStatus.CANCELLED
    assert [job["type"] for job in jobs].count("align_account") == 1


async def test_an_admins_suspension_is_not_undone_by_a_mirror(
    mirror: Mirror, bought: Bought, database: Database
) -> None:
    _, subjects = bought
    await mirror.mirror(subjects[0])
    async with database.as_system() as tx:
        (await tx.session.execute(select(License))).scalar_one().status = Status.SUSPENDED
    for subject in subjects:
        await mirror.mirror(subject)
    assert (await the_license(database)).status is Status.SUSPENDED


async def test_a_customer_that_is_not_ours_is_left_alone(mirror: Mirror, database: Database) -> None:
    await mirror.mirror(StripeObject("subscription", "sub_unknown", "cus_unknown"))
    assert await state(database) == (0, 0, 0, 0)


def an_event(**thing: Any) -> dict[str, Any]:
    return {"data": {"object": thing}}


@pytest.mark.parametrize(
    ("event", "subject"),
    [
        (an_event(object="invoice", id="in_1", customer="c"), StripeObject("invoice", "in_1", "c")),
        (an_event(object="subscription", id="s", customer="c"), StripeObject("subscription", "s", "c")),
        (an_event(object="checkout.session", id="cs", customer="c"), StripeObject("checkout.session", "cs", "c")),
        (an_event(object="invoice_payment", id="i", invoice="in"), None),
        (an_event(object="invoice", customer="c"), None),
        (an_event(object="invoice", id="in_1", customer=None), None),
        (an_event(object="charge", id="ch", customer="c"), None),
        ({"data": {}}, None),
        ({"data": None}, None),
        ({"data": {"object": []}}, None),
        ({"data": {"object": {"object": {}, "id": 1, "customer": []}}}, None),
        ({}, None),
    ],
)
def test_which_object_an_event_points_at(event: dict[str, Any], subject: StripeObject | None) -> None:
    assert subject_of(event) == subject
