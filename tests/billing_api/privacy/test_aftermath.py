"""After a deletion: workers delete Stripe's customer, and erase what came later."""

from datetime import timedelta
from typing import Any

import pytest

from billing_api.gateways.stripe.client import StripeGateway
from billing_api.privacy.aftermath import CustomerErasure, forget_leftovers
from core.clock import utc_now
from core.jobs import ForgetCustomer
from db.unit_of_work import Database
from tests.billing_api.conftest import Buying
from tests.billing_api.privacy.conftest import fill
from tests.support.databases import change, rows
from tests.support.people import Desk
from tests.support.servers import DatabaseUrls

GONE = "UPDATE users SET deleted_at = now() - make_interval(hours => :hours), is_active = false WHERE id = :id"


async def test_stripe_forgets_its_customer_and_a_second_time_finds_nothing_to_do(
    buyer: Buying, on_sale: None, database: Database, stripe: StripeGateway, database_urls: DatabaseUrls
) -> None:
    one = await buyer("Starter")
    erasure, job = CustomerErasure(database, stripe), ForgetCustomer(one.user_id)
    await erasure.perform(job)
    assert (await one.ask_stripe("GET", f"customers/{one.customer}"))["email"], "nobody who is here is forgotten"
    await change(database_urls, GONE, id=one.user_id, hours=0)
    for _ in range(2):
        await erasure.perform(job)
        assert (await one.ask_stripe("GET", f"customers/{one.customer}")).get("deleted") is True
    (user,) = await rows(database_urls, "SELECT stripe_customer_id FROM users")
    assert user["stripe_customer_id"] == one.customer, "the books lead to it"
    await one.told()  # of the subscription, which Stripe ended with the customer
    for table in ("subscriptions", "licenses"):
        assert await rows(database_urls, f"SELECT status FROM {table}") == [{"status": "cancelled"}], table
    assert len(await rows(database_urls, "SELECT 1 FROM invoices WHERE amount_paid > 0")) == 1


async def test_stripe_is_not_asked_for_whom_it_never_knew(
    database: Database, stripe: StripeGateway, desk: Desk, database_urls: DatabaseUrls
) -> None:
    user_id = await desk.a_user()
    await change(database_urls, GONE, id=user_id, hours=0)
    await CustomerErasure(database, stripe).perform(ForgetCustomer(user_id))
    assert await rows(database_urls, "SELECT stripe_customer_id FROM users") == [{"stripe_customer_id": None}]


@pytest.mark.parametrize(("hours", "stays"), [(25, False), (23, True), (None, True)])
async def test_leftovers_go_a_day_later_and_those_who_are_here_keep_theirs(
    database: Database, desk: Desk, database_urls: DatabaseUrls, hours: int | None, stays: bool
) -> None:
    user_id = await desk.a_user()
    old: dict[str, Any] = {"created_at": utc_now() - timedelta(hours=hours or 100)}
    await fill(database_urls, user_id, mails=old)
    if hours is not None:
        await change(database_urls, GONE, id=user_id, hours=hours)
    await forget_leftovers(database, utc_now)
    for table in ("mails", "sessions", "idempotency_keys", "recovery_codes"):
        assert bool(await rows(database_urls, f"SELECT 1 FROM {table}")) is stays, table
    (key,) = await rows(database_urls, "SELECT is_active, name = '' AS nameless FROM api_keys")
    assert key == {"is_active": stays, "nameless": not stays}
    assert await forget_leftovers(database, utc_now) == 0
    assert len(await rows(database_urls, "SELECT 1 FROM payments")) == 1
