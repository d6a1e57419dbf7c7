"""Everything about a customer: each part, its bounds, what a role may not see, and that nothing of others is in it."""

from typing import Any, Final

import pytest
from sqlalchemy import event, text
from sqlalchemy.dialects import postgresql

from billing_api.operations.customers.everything import repository
from core.ids import new_id
from db.models.identity import Role
from db.unit_of_work import Database
from tests.billing_api.conftest import Client, FakeTime
from tests.support.belongings import belongings
from tests.support.databases import change, rows
from tests.support.people import Desk, Headers
from tests.support.servers import DatabaseUrls

PARTS: Final = (
    "licenses", "subscriptions", "invoices", "payments", "api_keys", "audit", "mails", "sessions", "second_factor",
    "notes",
)  # fmt: skip


async def everything(client: Client, user_id: object, headers: Headers) -> dict[str, Any]:
    answer = await client.get(f"/api/v1/admin/users/{user_id}/everything", headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    shown: dict[str, Any] = answer.json()
    return shown


async def test_an_administrator_sees_every_part_of_one_customer(
    client: Client, desk: Desk, database_urls: DatabaseUrls
) -> None:
    admin = await desk.staff()
    ada = await belongings(client, desk, database_urls, "Ada")
    await belongings(client, desk, database_urls, "Bob Whose Name Is Nowhere Else")
    shown = await everything(client, ada.user_id, admin)
    assert (shown["user"]["full_name"], shown["more"], shown["left_out"]) == ("Ada", [], [])
    assert all(shown[part] for part in PARTS)
    for part, collection in (("licenses", "licenses"), ("subscriptions", "subscriptions"), ("invoices", "invoices"),
                             ("payments", "payments"), ("notes", "users/{user_id}/notes")):  # fmt: skip
        assert [one["id"] for one in shown[part]] == [ada.ids[collection]], part
    assert ada.ids["api-keys"] in {key["id"] for key in shown["api_keys"]}
    assert "Bob" not in str(shown)


async def test_it_holds_no_secret(client: Client, desk: Desk, database_urls: DatabaseUrls) -> None:
    admin = await desk.staff()
    ada = await belongings(client, desk, database_urls, "Ada")
    await change(
        database_urls,
        """UPDATE mails SET parameters = '{"token_sealed": "c2VhbGVk"}', key = 'an occasion ' || id
           WHERE user_id = :id""",
        id=ada.user_id,
    )
    shown = str(await everything(client, ada.user_id, admin))
    secrets = ["c2VhbGVk", "an occasion"]
    for table in ("licenses", "api_keys", "sessions", "totp_factors", "recovery_codes"):
        for row in await rows(database_urls, f"SELECT * FROM {table} WHERE user_id = :id", id=ada.user_id):
            secrets += [value.hex() for value in row.values() if isinstance(value, bytes)]
            secrets += [value.decode("latin-1") for value in row.values() if isinstance(value, bytes)]
    assert len(secrets) > 10
    assert [secret for secret in secrets if secret in shown] == []


async def test_support_is_told_which_part_is_left_out(client: Client, desk: Desk) -> None:
    shown = await everything(client, await desk.a_user(), await desk.staff(Role.SUPPORT))
    assert shown["left_out"] == [{"part": "audit", "permission": "admin.audit.view"}]
    assert shown["audit"] is None
    assert [part for part in PARTS if shown[part] is None] == ["audit"]


async def test_each_part_is_bounded_and_the_newest_come_first(client: Client, desk: Desk, database: Database) -> None:
    ada = await desk.a_user()
    made = [str((await desk.a_license(ada)).license.id) for _ in range(21)]
    async with database.as_system(ada) as tx:
        for number in range(25):
            await tx.audit("a.done", "license", made[0], number=number)
    shown = await everything(client, ada, await desk.staff())
    assert shown["more"] == ["licenses", "audit"]
    assert [one["id"] for one in shown["licenses"]] == made[:0:-1]
    assert [one["detail"]["number"] for one in shown["audit"]] == list(range(24, 4, -1))


async def test_the_trail_is_of_the_customers_acts_account_and_licenses(
    client: Client, desk: Desk, database: Database
) -> None:
    admin, ada, bob = await desk.staff(), await desk.a_user(), await desk.a_user()
    adas, bobs = (await desk.a_license(ada)).license.id, (await desk.a_license(bob)).license.id
    for actor, kind, target in (
        (ada, "license", bobs), (bob, "license", adas), (None, "user", ada), (ada, "user", ada),
        (bob, "user", bob), (bob, "license", bobs), (None, "user", adas), (None, "license", ada),
    ):  # fmt: skip
        async with database.as_system(actor) as tx:
            await tx.audit("a.done", kind, target)
    shown = (await everything(client, ada, admin))["audit"]
    assert [(one["actor"]["id"], one["target_kind"], one["target_id"]) for one in reversed(shown)] == [
        (str(ada), "license", str(bobs)),
        (str(bob), "license", str(adas)),
        (None, "user", str(ada)),
        (str(ada), "user", str(ada)),
    ]


async def test_a_look_is_on_record_and_in_the_customers_export(
    client: Client, desk: Desk, database_urls: DatabaseUrls
) -> None:
    ada, support = await desk.a_user(), await desk.staff(Role.SUPPORT)
    await everything(client, ada, support)
    (audit,) = await rows(database_urls, "SELECT actor_id, action, target_id, detail FROM audit_log")
    assert (audit["action"], audit["actor_id"], audit["target_id"]) == (
        "user.everything_viewed", desk.user_of(support), str(ada),
    )  # fmt: skip
    assert audit["detail"] == {"parts": [part for part in PARTS if part != "audit"]}
    export = (await client.get("/api/v1/me/export", headers=desk.signed_in(ada))).json()
    assert [act["action"] for act in export["tables"]["audit_log"]] == ["user.everything_viewed"]


@pytest.mark.parametrize(
    ("sent", "job", "state", "error"),
    [
        (True, None, "sent", None),
        (False, "attempts = 0", "queued", None),
        (False, "attempts = 3, last_error = 'busy'", "queued", "busy"),
        (False, "attempts = 9, last_error = 'no such mailbox', dead_at = now()", "parked", "no such mailbox"),
        (False, "done_at = now()", "parked", None),
    ],
)
async def test_mails_are_queued_sent_or_parked(
    client: Client, desk: Desk, database_urls: DatabaseUrls, sent: bool, job: str | None, state: str, error: str | None
) -> None:
    ada, mail_id = await desk.a_user(), new_id()
    await change(
        database_urls,
        "INSERT INTO mails (id, key, user_id, recipient, recipient_key, template, parameters, sent_at)"
        " VALUES (:id, 'k', :user, 'a@b.example', 'a@b.example', 'license_ready', '{}',"
        " CASE WHEN :sent THEN now() END)",
        id=mail_id,
        user=ada,
        sent=sent,
    )
    if job is not None:
        await change(
            database_urls,
            "INSERT INTO outbox (lane, job) VALUES"
            " ('partner', jsonb_build_object('type', 'deliver_mail', 'mail_id', CAST(:id AS text)))",
            id=str(mail_id),
        )
        await change(database_urls, f"UPDATE outbox SET {job} WHERE lane = 'partner'")
    (mail,) = (await everything(client, ada, await desk.staff()))["mails"]
    assert (mail["id"], mail["state"], mail["last_error"]) == (str(mail_id), state, error)


async def test_sign_ins_are_open_ones_and_the_second_factor_is_told(
    client: Client, desk: Desk, database_urls: DatabaseUrls, clock: FakeTime
) -> None:
    ada = await desk.a_user()
    await desk.a_session(ada, revoked_at=clock.now)
    await desk.a_session(ada, expires_at=clock.now)
    open_one = await desk.a_session(ada, address="192.0.2.9", user_agent="Firefox", amr=["pwd", "otp"])
    shown = await everything(client, ada, await desk.staff())
    assert {one["id"] for one in shown["sessions"]} == {str(ada), str(open_one)}
    told = next(one for one in shown["sessions"] if one["id"] == str(open_one))
    assert (told["address"], told["user_agent"], told["methods"]) == ("192.0.2.9", "Firefox", ["pwd", "otp"])
    nothing = {"in_use": False, "since": None, "blocked_until": None, "unused_recovery_codes": 0}
    assert shown["second_factor"] == nothing
    await change(
        database_urls,
        "INSERT INTO totp_factors (user_id, secret, started_at, confirmed_at) VALUES (:id, '', now(), now())",
        id=ada,
    )
    await change(
        database_urls,
        "INSERT INTO recovery_codes (code_hash, user_id, used_at) VALUES ('a', :id, NULL), ('b', :id, now())",
        id=ada,
    )
    factor = (await everything(client, ada, await desk.staff()))["second_factor"]
    assert (factor["in_use"], factor["unused_recovery_codes"]) == (True, 1)


async def test_the_number_of_statements_does_not_grow_with_the_rows(
    client: Client, desk: Desk, database_urls: DatabaseUrls, app: Any
) -> None:
    admin, ada = await desk.staff(), await belongings(client, desk, database_urls, "Ada")
    engine = app.state.api.infrastructure.database.engine.sync_engine
    statements: list[str] = []

    def note(*args: Any) -> None:
        statements.append(args[2])

    async def count() -> int:
        await everything(client, ada.user_id, admin)
        statements.clear()
        event.listen(engine, "before_cursor_execute", note)
        try:
            await everything(client, ada.user_id, admin)
        finally:
            event.remove(engine, "before_cursor_execute", note)
        return len(statements)

    before = await count()
    for _ in range(5):
        await desk.a_license(ada.user_id)
        await desk.a_session(ada.user_id)
    assert await count() == before <= 20


async def test_trail_and_mails_are_found_without_a_scan(
    desk: Desk, database: Database, database_urls: DatabaseUrls
) -> None:
    ada = await desk.a_user()
    await desk.a_license(ada)
    await change(
        database_urls,
        "INSERT INTO audit_log (actor_id, action, target_kind, target_id, detail)"
        " SELECT gen_random_uuid(), 'a.done', 'license', gen_random_uuid()::text, '{}' FROM generate_series(1, 20000)",
    )
    await change(
        database_urls,
        "INSERT INTO outbox (lane, job, dead_at) SELECT 'partner',"
        " jsonb_build_object('type', 'deliver_mail', 'mail_id', gen_random_uuid()), now()"
        " FROM generate_series(1, 20000)",
    )
    await change(database_urls, "ANALYZE audit_log, outbox, licenses, users, mails")
    for statement, index in (
        (repository.audit_of(ada), "ix_audit_log_actor_id"),
        (repository.audit_of(ada), "ix_audit_log_target"),
        (repository.mails_of(ada), "ix_outbox_unsent_mail"),
    ):
        dialect = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy left it untyped
        said = str(statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
        async with database.as_staff(ada) as tx:
            plan = "\n".join(await tx.session.scalars(text(f"EXPLAIN {said}")))
        assert index in plan, plan
        assert "Seq Scan on audit_log" not in plan, plan
        assert "Seq Scan on outbox" not in plan, plan


async def test_nobody_else_sees_it(client: Client, desk: Desk) -> None:
    ada = await desk.a_user()
    path = f"/api/v1/admin/users/{ada}/everything"
    assert (await client.get(path, headers=desk.signed_in(ada))).status_code == 403
    assert (await client.get(path)).status_code == 401
    missing = await client.get(f"/api/v1/admin/users/{new_id()}/everything", headers=await desk.staff())
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")


async def test_an_erased_account_is_shown_as_such(client: Client, desk: Desk, database_urls: DatabaseUrls) -> None:
    ada = await desk.a_user()
    await change(
        database_urls,
        "UPDATE users SET email = 'deleted@invalid', full_name = '', is_active = false, deleted_at = now()"
        " WHERE id = :id",
        id=ada,
    )
    shown = await everything(client, ada, await desk.staff())
    assert (shown["user"]["status"], shown["licenses"]) == ("deleted", [])
