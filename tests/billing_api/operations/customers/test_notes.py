"""Notes of staff: who writes them, who changes them, and that the customer never sees one."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import text

from core.ids import new_id
from db.models.identity import Role
from db.unit_of_work import Database
from tests.billing_api.conftest import Client
from tests.support.databases import change, rows, until_blocked
from tests.support.people import Desk, Headers
from tests.support.servers import DatabaseUrls

TEXT = "Ist am Telefon kurz angebunden; ruft „Max“ zurück.\nSecond line."


def path(user_id: object, note_id: object = None) -> str:
    return f"/api/v1/admin/users/{user_id}/notes" + ("" if note_id is None else f"/{note_id}")


async def a_note(client: Client, user_id: object, headers: Headers, **body: Any) -> dict[str, Any]:
    answer = await client.post(path(user_id), json={"body": TEXT, **body}, headers=headers)
    assert answer.status_code == 201, answer.text
    note: dict[str, Any] = answer.json()
    return note


async def listed(client: Client, user_id: object, headers: Headers, query: str = "") -> list[str]:
    answer = await client.get(path(user_id) + query, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.json()["total"] == len(answer.json()["items"])
    return [note["body"] for note in answer.json()["items"]]


async def test_support_writes_reads_and_pins_notes(client: Client, desk: Desk) -> None:
    customer, support = await desk.a_user(), await desk.staff(Role.SUPPORT)
    note = await a_note(client, customer, support)
    assert (note["body"], note["version"], note["is_pinned"], note["editor"]) == (TEXT, 1, False, None)
    author = desk.user_of(support)
    assert note["author"] == {
        "kind": "staff", "id": str(author), "name": "Ada Buyer", "email": f"{author.hex}@example.com",
    }  # fmt: skip
    await a_note(client, customer, support, body="another")
    assert await listed(client, customer, support) == ["another", TEXT]
    order = {"version": 1, "is_pinned": True}
    pinned = await client.patch(path(customer, note["id"]), json=order, headers=await desk.staff(Role.SUPPORT))
    assert (pinned.status_code, pinned.json()["is_pinned"], pinned.json()["version"]) == (200, True, 1)
    assert await listed(client, customer, support, "?pinned=true") == [TEXT]
    assert await listed(client, customer, support, "?pinned=false") == ["another"]
    assert await listed(client, await desk.a_user(), support) == []


async def test_an_edit_keeps_the_former_text_and_the_trail_has_none(
    client: Client, desk: Desk, database_urls: DatabaseUrls
) -> None:
    customer, support, admin = await desk.a_user(), await desk.staff(Role.SUPPORT), await desk.staff()
    note = await a_note(client, customer, support, body="first words")
    for version, (headers, body) in enumerate([(support, "second words"), (admin, "third words")], start=1):
        order = {"version": version, "body": body}
        answer = await client.patch(path(customer, note["id"]), json=order, headers=headers)
        assert (answer.status_code, answer.json()["version"]) == (200, version + 1), answer.text
    whole = (await client.get(path(customer, note["id"]), headers=support)).json()
    assert (whole["body"], whole["editor"]["id"], whole["more"]) == ("third words", str(desk.user_of(admin)), False)
    assert [(one["version"], one["body"], one["author"]["id"]) for one in whole["former"]] == [
        (2, "second words", str(desk.user_of(support))),
        (1, "first words", str(desk.user_of(support))),
    ]
    trail = await rows(database_urls, "SELECT action, target_kind, target_id, detail FROM audit_log ORDER BY id")
    assert [(entry["action"], entry["detail"].get("version")) for entry in trail] == [
        ("note.added", None), ("note.edited", 2), ("note.edited", 3),
    ]  # fmt: skip
    assert {(entry["target_kind"], entry["target_id"]) for entry in trail} == {("customer_note", note["id"])}
    assert "words" not in str(trail)


async def test_a_deleted_note_is_listed_no_more_and_its_text_is_kept(
    client: Client, desk: Desk, database_urls: DatabaseUrls
) -> None:
    customer, support = await desk.a_user(), await desk.staff(Role.SUPPORT)
    note = await a_note(client, customer, support, is_pinned=True)
    at = path(customer, note["id"])
    assert (await client.delete(at, headers=support)).status_code == 204
    assert await listed(client, customer, support) == []
    assert (await client.delete(at, headers=support)).status_code == 404
    assert (await client.patch(at, json={"version": 2, "body": "x"}, headers=support)).status_code == 404
    whole = (await client.get(at, headers=support)).json()
    assert (whole["body"], whole["is_pinned"], whole["former"][0]["body"]) == ("", False, TEXT)
    assert whole["deleted_at"] is not None
    [last] = await rows(database_urls, "SELECT action, actor_id FROM audit_log ORDER BY id DESC LIMIT 1")
    assert last == {"action": "note.deleted", "actor_id": desk.user_of(support)}


async def test_of_two_edits_of_one_version_one_is_refused(client: Client, desk: Desk) -> None:
    customer, admin = await desk.a_user(), await desk.staff()
    note = await a_note(client, customer, admin)
    at = path(customer, note["id"])
    answers = await asyncio.gather(
        *(client.patch(at, json={"version": 1, "body": f"text {n}"}, headers=admin) for n in range(4))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
    whole = (await client.get(at, headers=admin)).json()
    assert (whole["version"], len(whole["former"])) == (2, 1)


async def test_the_same_text_again_changes_nothing(client: Client, desk: Desk, database_urls: DatabaseUrls) -> None:
    customer, admin = await desk.a_user(), await desk.staff()
    note = await a_note(client, customer, admin)
    order = {"version": 1, "body": TEXT, "is_pinned": False}
    same = await client.patch(path(customer, note["id"]), json=order, headers=admin)
    assert same.json() == note
    assert len(await rows(database_urls, "SELECT 1 FROM audit_log")) == 1


async def test_support_rewrites_and_deletes_its_own_notes_alone(client: Client, desk: Desk) -> None:
    customer, admin, support = await desk.a_user(), await desk.staff(), await desk.staff(Role.SUPPORT)
    at = path(customer, (await a_note(client, customer, admin))["id"])
    rewrite = {"version": 1, "body": "x"}
    refused = [await client.patch(at, json=rewrite, headers=support), await client.delete(at, headers=support)]
    assert [(answer.status_code, answer.json()["code"]) for answer in refused] == [(403, "forbidden")] * 2
    assert await listed(client, customer, support) == [TEXT]
    own = path(customer, (await a_note(client, customer, support))["id"])
    assert (await client.delete(own, headers=admin)).status_code == 204


async def test_no_customer_gets_to_a_note(client: Client, desk: Desk, database: Database) -> None:
    customer, admin = await desk.a_user(), await desk.staff()
    me = desk.signed_in(customer)
    note = await a_note(client, customer, admin)
    calls = [
        ("GET", path(customer), None),
        ("POST", path(customer), {"body": "x"}),
        ("GET", path(customer, note["id"]), None),
        ("PATCH", path(customer, note["id"]), {"version": 1, "body": "x"}),
        ("DELETE", path(customer, note["id"]), None),
    ]
    for headers, status in ((me, 403), ({}, 401)):
        for method, at, body in calls:
            assert (await client.request(method, at, json=body, headers=headers)).status_code == status
    export = await client.get("/api/v1/me/export", headers=me)
    assert export.status_code == 200
    assert "Max" not in export.text
    assert "note" not in export.text
    assert note["id"] not in export.text
    async with database.as_staff(desk.user_of(admin)) as tx:
        assert await tx.session.scalar(text("SELECT count(*) FROM customer_notes")) == 1


async def test_notes_are_found_below_their_customer_alone(client: Client, desk: Desk) -> None:
    ada, bob, admin = await desk.a_user(), await desk.a_user(), await desk.staff()
    note = await a_note(client, ada, admin)
    for at in (path(bob, note["id"]), path(ada, new_id()), path(new_id(), note["id"])):
        order = {"version": 1, "body": "x"}
        answers = [
            await client.get(at, headers=admin),
            await client.patch(at, json=order, headers=admin),
            await client.delete(at, headers=admin),
        ]
        assert [answer.status_code for answer in answers] == [404, 404, 404]
    for answer in (
        await client.get(path(new_id()), headers=admin),
        await client.post(path(new_id()), json={"body": "x"}, headers=admin),
    ):
        assert answer.status_code == 404


async def test_nothing_is_noted_about_an_account_that_was_deleted(
    client: Client, desk: Desk, database_urls: DatabaseUrls
) -> None:
    """Its notes are erased with it: tests/billing_api/privacy/test_deletion.py."""
    customer, admin = await desk.a_user(), await desk.staff()
    await change(database_urls, "UPDATE users SET is_active = false, deleted_at = now() WHERE id = :id", id=customer)
    refused = await client.post(path(customer), json={"body": "x"}, headers=admin)
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")


async def test_a_note_that_is_written_while_the_account_goes_is_refused(
    client: Client, desk: Desk, database: Database, database_urls: DatabaseUrls
) -> None:
    customer, admin = await desk.a_user(), await desk.staff()
    async with database.as_system() as tx:
        gone = "UPDATE users SET is_active = false, deleted_at = now() WHERE id = :id"
        await tx.session.execute(text(gone), {"id": customer})
        writing = asyncio.create_task(client.post(path(customer), json={"body": "x"}, headers=admin))
        await until_blocked(database_urls)
    assert (await writing).status_code == 409
    assert await rows(database_urls, "SELECT 1 FROM customer_notes") == []


@pytest.mark.parametrize(
    "body",
    [{}, {"body": ""}, {"body": "x" * 4001}, {"body": "a\0b"}, {"body": "\u202ex"}, {"body": 1},
     {"body": "x", "pinned": 1}, {"body": "x", "is_pinned": None}],
)  # fmt: skip
async def test_what_is_no_note_is_refused(client: Client, desk: Desk, body: dict[str, Any]) -> None:
    answer = await client.post(path(await desk.a_user()), json=body, headers=await desk.staff())
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_input")


@pytest.mark.parametrize(
    "body", [{}, {"version": 1}, {"body": "x"}, {"version": 0, "body": "x"}, {"version": 2**31, "body": "x"}]
)
async def test_what_changes_nothing_is_refused(client: Client, desk: Desk, body: dict[str, Any]) -> None:
    customer, admin = await desk.a_user(), await desk.staff()
    note = await a_note(client, customer, admin)
    answer = await client.patch(path(customer, note["id"]), json=body, headers=admin)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_input")
