"""Account deletion: no personal data and no access remain; the books keep what they need."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

import httpx
import pytest

from billing_api.commerce.checkout.repository import write_intent
from billing_api.commerce.stripe_customers.repository import buyer
from billing_api.identity.accounts.repository import change_own_user
from billing_api.privacy.inventory import HOLDINGS, Fate
from core.errors import Unauthenticated
from core.ids import new_id
from core.licensing.state import Status
from db.models.commerce import CheckoutStatus, SubscriptionStatus
from db.models.identity import Role
from db.models.licensing import Interval
from tests.billing_api.conftest import Client, FakeTime, Visitors
from tests.billing_api.privacy.conftest import fill
from tests.support.databases import change, rows, until_blocked
from tests.support.people import Desk, Headers
from tests.support.rows import STARTER_PLAN
from tests.support.servers import DatabaseUrls
from tests.support.visitors import PASSWORD, Mailbox, Visitor

PATH: Final = "/api/v1/me"
NAME: Final = "Ada Buyer"


async def leave(visitor: Visitor, headers: Headers, **order: Any) -> httpx.Response:
    body = {"password": PASSWORD} | order
    return await visitor.web.request("DELETE", PATH, json=body, headers=headers)


async def user_of(urls: DatabaseUrls, visitor: Visitor) -> Any:
    (row,) = await rows(urls, "SELECT id FROM users WHERE email = :email", email=visitor.email)
    return row["id"]


async def count(urls: DatabaseUrls, table: str) -> int:
    (row,) = await rows(urls, f"SELECT count(*) FROM {table}")
    return int(row["count"])


PAST: Final[Mapping[str, Mapping[str, Any]]] = {
    "licenses": {
        "status": Status.CANCELLED,
        "account_order": {"user_email": "ada@old.example"},
        "fingerprint": "ab:cd",
        "label": "Ada's shop",
    },
    "subscriptions": {"status": SubscriptionStatus.CANCELLED, "cancel_at_period_end": False},
    "checkout_sessions": {"status": CheckoutStatus.COMPLETE},
    "payments": {"description": "Invoice 7", "amount": 2900},
}
"""Rows of a user without a running purchase."""


async def test_what_names_a_person_goes_and_the_books_stay(ada: Visitor, database_urls: DatabaseUrls) -> None:
    user_id = await user_of(database_urls, ada)
    headers = await ada.signed_in()
    await change(database_urls, "UPDATE users SET company_name = 'Engines Ltd', stripe_customer_id = 'cus_1'")
    await change(database_urls, "UPDATE users SET locale = 'de-AT', time_zone = 'Europe/Vienna'")
    await fill(database_urls, user_id, **PAST)
    await change(database_urls, "UPDATE mails SET created_at = now() - interval '2 hours'")
    kept = {holding.table: await count(database_urls, holding.table) for holding in HOLDINGS}
    answer = await leave(ada, headers)
    assert (answer.status_code, answer.content) == (204, b""), answer.text
    for holding in HOLDINGS:
        left = await count(database_urls, holding.table)
        if holding.table == "mails":  # the one that tells the user so
            assert [mail["template"] for mail in await rows(database_urls, "SELECT * FROM mails")] == [
                "account_deleted"
            ]
        else:
            assert left == (0 if holding.fate is Fate.ERASED else kept[holding.table]), holding.table
    (user,) = await rows(database_urls, "SELECT * FROM users")
    assert (user["email"], user["full_name"], user["company_name"]) == (f"deleted+{user_id}@invalid", "", None)
    assert (user["password_hash"], user["is_active"], user["stripe_customer_id"]) == ("!", False, "cus_1")
    assert user["deleted_at"] is not None
    assert user["locale"] is user["time_zone"] is None
    (payment,) = await rows(database_urls, "SELECT amount, user_id, description FROM payments")
    assert payment == {"amount": 2900, "user_id": user_id, "description": "Invoice 7"}
    jobs = [row["job"] for row in await rows(database_urls, "SELECT job FROM outbox WHERE lane = 'partner'")]
    assert {"type": "forget_customer", "user_id": str(user_id)} in jobs


async def test_no_table_holds_the_address_or_the_name_afterwards(ada: Visitor, database_urls: DatabaseUrls) -> None:
    user_id = await user_of(database_urls, ada)
    headers = await ada.signed_in()
    await fill(database_urls, user_id, **PAST, sessions={"user_agent": NAME, "address": "192.0.2.7"})
    await change(
        database_urls, "UPDATE licenses SET account_order = jsonb_build_object('user_email', 'ada@old.example')"
    )
    await change(database_urls, "UPDATE users SET stripe_customer_id = 'cus_1'")
    for number, facts in enumerate(('"customer": "cus_1"', '"name": "x"')):
        payload = f'{{"id": "evt", "type": "t", "data": {{"object": {{"object": "invoice", "id": "cus_1", {facts},'
        await change(
            database_urls,
            "INSERT INTO webhook_events (id, event_type, source, source_event_id, payload, processed)"
            " VALUES (gen_random_uuid(), 't', 'stripe', :number, CAST(:payload AS jsonb), true)",
            number=str(number),
            payload=payload + f'"customer_name": "{NAME}", "customer_email": "{ada.email}"}}}}}}',
        )
    await change(database_urls, "UPDATE mails SET created_at = now() - interval '2 hours'")
    assert (await leave(ada, headers)).status_code == 204
    await change(database_urls, "DELETE FROM mails")  # the last one is the sweeper's, a day later
    tables = await rows(
        database_urls, "SELECT c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p')",
    )  # fmt: skip
    for trace in (ada.email, NAME, "ada@old.example", "192.0.2.7", "ab:cd", "Ada's shop"):
        for table in tables:
            found = await rows(
                database_urls,
                f"SELECT 1 FROM {table['name']} AS t WHERE t::text ILIKE '%' || :trace || '%'",
                trace=trace,
            )
            assert found == [], (table["name"], trace)


async def test_an_event_that_was_reduced_still_finds_its_object(ada: Visitor, database_urls: DatabaseUrls) -> None:
    headers = await ada.signed_in()
    await change(database_urls, "UPDATE users SET stripe_customer_id = 'cus_1'")
    payload = '{"id":"evt_1","type":"invoice.paid","data":{"object":{"object":"invoice","id":"in_1","customer":"cus_1"'
    await change(
        database_urls,
        "INSERT INTO webhook_events (id, event_type, source, source_event_id, payload, processed)"
        " VALUES (gen_random_uuid(), 'invoice.paid', 'stripe', 'evt_1', CAST(:payload AS jsonb), false)",
        payload=payload + ',"customer_name":"Ada"}}}',
    )
    assert (await leave(ada, headers)).status_code == 204
    (event,) = await rows(database_urls, "SELECT payload FROM webhook_events")
    assert event["payload"]["data"] == {"object": {"object": "invoice", "id": "in_1", "customer": "cus_1"}}


async def test_evidence_about_somebody_who_left_goes_from_the_events_of_a_dispute(
    ada: Visitor, database_urls: DatabaseUrls
) -> None:
    """A dispute names a charge and no customer."""
    headers = await ada.signed_in()
    await change(
        database_urls,
        "INSERT INTO payments (id, created_at, user_id, stripe_payment_intent_id, stripe_charge_id, amount, currency,"
        " status) SELECT gen_random_uuid(), now(), id, 'pi_1', 'ch_1', 100, 'usd', 'refunded' FROM users",
    )
    payload = '{"id":"evt_1","type":"charge.dispute.closed","data":{"object":{"object":"dispute","id":"du_1"'
    await change(
        database_urls,
        "INSERT INTO webhook_events (id, event_type, source, source_event_id, payload, processed)"
        " VALUES (gen_random_uuid(), 'charge.dispute.closed', 'stripe', 'evt_1', CAST(:payload AS jsonb), true)",
        payload=payload + ',"charge":"ch_1","evidence":{"customer_name":"Ada"}}}}',
    )
    assert (await leave(ada, headers)).status_code == 204
    (event,) = await rows(database_urls, "SELECT payload FROM webhook_events")
    assert event["payload"]["data"] == {"object": {"object": "dispute", "id": "du_1"}}


async def test_he_is_out_everywhere_at_once_and_does_not_get_in_again(
    ada: Visitor, visitors: Visitors, database_urls: DatabaseUrls
) -> None:
    phone = visitors(ada.email)
    there, here = await phone.signed_in(), await ada.signed_in()
    made = await ada.web.post(f"{PATH}/oauth-clients", json={"name": "CRM", "scopes": ["licenses:read"]}, headers=here)
    assert made.status_code == 201
    left = await leave(ada, here)
    assert (left.status_code, ada.cookie) == (204, None)
    for headers in (here, there):
        assert (await ada.web.get(PATH, headers=headers)).status_code == 401
    assert (await phone.refresh()).status_code == 401
    assert (await phone.login()).json()["code"] == "invalid_credentials"
    secret = made.json()
    grant = {
        "grant_type": "client_credentials",
        "client_id": secret["client_id"],
        "client_secret": secret["client_secret"],
    }
    assert (await phone.web.post("/api/v1/oauth/token", data=grant)).status_code == 401
    assert (await leave(ada, here)).status_code == 401, "twice is once"
    assert len(await rows(database_urls, "SELECT 1 FROM audit_log WHERE action = 'account.deleted'")) == 1


async def test_the_same_address_opens_a_new_account(
    ada: Visitor, mailbox: Mailbox, database_urls: DatabaseUrls
) -> None:
    old = await user_of(database_urls, ada)
    assert (await leave(ada, await ada.signed_in())).status_code == 204
    assert (await ada.register()).status_code == 201
    new = await user_of(database_urls, ada)
    await ada.verify((await mailbox.tokens(ada.email))[-1])
    me = (await ada.web.get(PATH, headers=await ada.signed_in())).json()
    assert (me["id"], new != old) == (str(new), True)
    assert "account_deleted" in await mailbox.templates(ada.email)


async def test_what_binds_the_account_is_told_and_nothing_has_happened(
    ada: Visitor, desk: Desk, database_urls: DatabaseUrls
) -> None:
    user_id = await user_of(database_urls, ada)
    headers = await ada.signed_in()
    await fill(
        database_urls,
        user_id,
        licenses={"status": Status.ACTIVE},
        subscriptions={"status": SubscriptionStatus.ACTIVE, "cancel_at_period_end": False},
        checkout_sessions={"status": CheckoutStatus.OPEN, "created_at": desk.clock()},
    )
    answers = [await leave(ada, headers) for _ in range(6)]
    for answer in answers:  # the password is right each time: nobody has to wait for that
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict"), answer.text
    for part in ("1 of your subscriptions renew", "1 of your licenses are live", "a payment page is open until"):
        assert part in answers[0].json()["detail"]
    (user,) = await rows(database_urls, "SELECT email, is_active, deleted_at FROM users")
    assert user == {"email": ada.email, "is_active": True, "deleted_at": None}
    assert await count(database_urls, "recovery_codes") == 1
    assert (await ada.web.get(PATH, headers=headers)).status_code == 200


async def test_licenses_end_with_the_account_by_its_owners_word(
    ada: Visitor, desk: Desk, database_urls: DatabaseUrls
) -> None:
    user_id = await user_of(database_urls, ada)
    issued = [(await desk.a_license(user_id)).license.id for _ in range(2)]
    await change(database_urls, "UPDATE licenses SET status = 'expired' WHERE id = :id", id=issued[1])
    headers = await ada.signed_in()
    assert (await leave(ada, headers)).status_code == 409
    assert (await leave(ada, headers, end_licenses=True)).status_code == 204
    standing = await rows(database_urls, "SELECT DISTINCT status, status_message, auto_renew FROM licenses")
    assert standing == [{"status": "cancelled", "status_message": "its owner deleted the account", "auto_renew": False}]
    told = await rows(database_urls, "SELECT job FROM outbox WHERE job ->> 'type' = 'align_account'")
    assert {job["job"]["license_id"] for job in told} == {str(license_id) for license_id in issued}
    (audit,) = await rows(database_urls, "SELECT detail FROM audit_log WHERE action = 'account.deleted'")
    assert audit["detail"] == {"licenses_ended": 2, "sessions_ended": 1}


async def test_an_expired_license_binds_nobody(ada: Visitor, desk: Desk, database_urls: DatabaseUrls) -> None:
    await desk.a_license(await user_of(database_urls, ada))
    await change(database_urls, "UPDATE licenses SET expiry_date = now() - interval '1 day', grace_until = NULL")
    assert (await leave(ada, await ada.signed_in())).status_code == 204


async def test_it_takes_the_password_and_a_fresh_sign_in(ada: Visitor, clock: FakeTime) -> None:
    headers = await ada.signed_in()
    wrong = await leave(ada, headers, password="not the password")
    assert (wrong.status_code, wrong.json()["code"]) == (401, "invalid_credentials")
    clock.now += timedelta(minutes=5, seconds=1)
    stale = await leave(ada, headers)
    assert (stale.status_code, stale.json()["code"]) == (403, "step_up_required")
    assert (await ada.login()).status_code == 200


@pytest.mark.parametrize("order", [{"password": 7}, {"end_licenses": "yes"}, {"sure": True}])
async def test_an_order_that_does_not_fit_changes_nothing(ada: Visitor, order: dict[str, Any]) -> None:
    headers = await ada.signed_in()
    assert (await leave(ada, headers, **order)).status_code == 400
    assert (await ada.web.get(PATH, headers=headers)).status_code == 200


async def test_of_many_at_once_one_deletes(ada: Visitor, database_urls: DatabaseUrls) -> None:
    headers = await ada.signed_in()
    answers = await asyncio.gather(*(leave(ada, headers) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) in ([204, 401, 401, 401], [204, 401, 401, 429])
    acts = await rows(database_urls, "SELECT action FROM audit_log WHERE action = 'account.deleted'")
    assert len(acts) == 1


async def test_it_happens_whole_or_not_at_all(ada: Visitor, database_urls: DatabaseUrls) -> None:
    """The last statement but one fails in the database: everything that was erased before is rolled back."""
    headers = await ada.signed_in()
    await change(
        database_urls,
        "CREATE FUNCTION np_test_refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN IF NEW.action = ''account.deleted'' THEN RAISE ''the disk is full''; END IF; RETURN NEW; END'",
    )
    await change(
        database_urls, "CREATE TRIGGER refuse BEFORE INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION np_test_refuse()"
    )
    try:
        assert (await leave(ada, headers)).status_code == 500
    finally:
        await change(database_urls, "DROP TRIGGER refuse ON audit_log")
        await change(database_urls, "DROP FUNCTION np_test_refuse()")
    assert (await ada.web.get(PATH, headers=headers)).json()["full_name"] == NAME
    assert (await ada.refresh()).status_code == 200
    assert (await leave(ada, headers)).status_code == 204


async def as_staff(visitor: Visitor, urls: DatabaseUrls, role: Role) -> Headers:
    await change(urls, "UPDATE users SET role = CAST(:role AS user_role)", role=role.value)
    return await visitor.signed_in()


async def test_the_last_administrator_stays(ada: Visitor, desk: Desk, database_urls: DatabaseUrls) -> None:
    headers = await as_staff(ada, database_urls, Role.ADMIN)
    alone = await leave(ada, headers)
    assert (alone.status_code, "only administrator" in alone.json()["detail"]) == (409, True)
    await desk.staff()
    assert (await leave(ada, headers)).status_code == 204


async def test_of_two_administrators_who_leave_at_once_one_stays(
    ada: Visitor, visitors: Visitors, mailbox: Mailbox, database_urls: DatabaseUrls
) -> None:
    bob = visitors()
    await bob.register()
    await bob.verify((await mailbox.tokens(bob.email))[0])
    both = [(who, await as_staff(who, database_urls, Role.ADMIN)) for who in (ada, bob)]
    answers = await asyncio.gather(*(leave(who, headers) for who, headers in both))
    assert sorted(answer.status_code for answer in answers) == [204, 409]
    assert len(await rows(database_urls, "SELECT 1 FROM users WHERE role = 'admin' AND is_active")) == 1


async def test_deleted_is_deleted_for_staff_too(
    client: Client, desk: Desk, ada: Visitor, database_urls: DatabaseUrls
) -> None:
    user_id = await user_of(database_urls, ada)
    assert (await leave(ada, await ada.signed_in())).status_code == 204
    admin = await desk.staff()
    path = f"/api/v1/admin/users/{user_id}"
    assert (await client.get(path, headers=admin)).json()["status"] == "deleted"
    for status, there in (("deleted", 1), ("suspended", 0)):
        found = await client.get("/api/v1/admin/users", params={"status": status}, headers=admin)
        assert found.json()["total"] == there
    for verb, body in (("resume", {"reason": "x"}), ("suspend", {"reason": "x"}), ("role", {"role": "support"})):
        assert (await client.post(f"{path}/{verb}", json=body, headers=admin)).status_code == 409
    changed = "UPDATE users SET email = 'ada@example.com', full_name = 'Ada', is_active = true, deleted_at = NULL"
    await change(database_urls, f"{changed} WHERE id = :id", id=user_id)  # typed by hand
    (user,) = await rows(database_urls, "SELECT email, full_name, is_active FROM users WHERE id = :id", id=user_id)
    assert user == {"email": f"deleted+{user_id}@invalid", "full_name": "", "is_active": False}


async def test_guesses_are_forgotten_with_the_account_they_were_about(
    ada: Visitor, visitors: Visitors, database_urls: DatabaseUrls
) -> None:
    await visitors(ada.email).login("a wrong password")
    await visitors("bob@example.com").login("a wrong password")
    before = await count(database_urls, "guess_counts")
    assert (await leave(ada, await ada.signed_in())).status_code == 204
    assert 0 < await count(database_urls, "guess_counts") < before


async def test_a_checkout_under_way_is_seen(ada: Visitor, desk: Desk, database_urls: DatabaseUrls) -> None:
    """Its intent is not committed yet when the account is deleted."""
    user_id = await user_of(database_urls, ada)
    headers = await ada.signed_in()
    intent = {"id": new_id(), "user_id": user_id, "plan_id": STARTER_PLAN, "interval": Interval.MONTH}
    async with desk.database.as_customer(user_id) as tx:
        await buyer(tx)
        await write_intent(tx, **intent)
        leaving = asyncio.create_task(leave(ada, headers))
        await until_blocked(database_urls)
    assert "a payment page is open" in (await leaving).json()["detail"]


async def test_a_request_under_way_brings_nothing_back(ada: Visitor, desk: Desk, database_urls: DatabaseUrls) -> None:
    """A change of name, and a checkout, whose access token was checked just before."""
    user_id = await user_of(database_urls, ada)
    headers = await ada.signed_in()
    assert (await leave(ada, headers)).status_code == 204
    async with desk.database.as_customer(user_id) as tx:
        await change_own_user(tx, user_id, {"full_name": NAME})
        with pytest.raises(Unauthenticated):
            await buyer(tx)
    (user,) = await rows(database_urls, "SELECT full_name FROM users")
    assert user["full_name"] == ""
