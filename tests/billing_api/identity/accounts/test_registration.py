"""Registration, and the proof that the address belongs to the user."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.support.databases import change, rows
from tests.support.intruder import plant, ways_in
from tests.support.servers import DatabaseUrls
from tests.support.visitors import PASSWORD, Mailbox, Visitor

Visitors = Callable[..., Visitor]
STRANGERS = "eleven blue bicycles"


async def test_the_whole_road_from_a_stranger_to_a_customer(
    visitor: Visitor, mailbox: Mailbox, database_urls: DatabaseUrls
) -> None:
    registered = await visitor.register(company_name="Buyers & Sons")
    assert registered.status_code == 201
    assert registered.json()["email"] == visitor.email

    (mail,) = await mailbox.mails(visitor.email)
    assert (mail["template"], mail["parameters"]["full_name"], mail["sent_at"]) == ("verify_email", "Ada Buyer", None)
    jobs = await rows(database_urls, "SELECT lane, job FROM outbox")
    assert jobs == [{"lane": "partner", "job": {"type": "deliver_mail", "mail_id": str(mail["id"])}}]

    too_early = await visitor.login()
    assert (too_early.status_code, too_early.json()["code"]) == (403, "email_not_verified")

    (token,) = await mailbox.tokens(visitor.email)
    verified = await visitor.verify(token)
    assert (verified.status_code, verified.json()) == (200, {"email": visitor.email, "email_verified": True})

    granted = await visitor.login()
    assert granted.status_code == 200
    me = await visitor.me(granted.json()["access_token"])
    own = {
        "email": visitor.email,
        "full_name": "Ada Buyer",
        "company_name": "Buyers & Sons",
        "role": "customer",
        "email_verified": True,
    }
    assert own.items() <= me.json().items()
    refreshed = await visitor.refresh()
    assert (await visitor.me(refreshed.json()["access_token"])).json()["id"] == me.json()["id"]

    assert (await visitor.logout()).status_code == 204
    assert (await visitor.refresh()).status_code == 401


async def test_neither_password_nor_token_is_kept_in_the_clear(
    visitor: Visitor, mailbox: Mailbox, database_urls: DatabaseUrls
) -> None:
    await visitor.register()
    (token,) = await mailbox.tokens(visitor.email)
    (user,) = await rows(database_urls, "SELECT password_hash FROM users")
    assert user["password_hash"].startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    everything = await rows(
        database_urls,
        "SELECT m::text || coalesce(t::text, '') || encode(t.token_hash, 'escape') AS text FROM mails m"
        " JOIN one_time_tokens t USING (user_id) UNION ALL SELECT job::text FROM outbox",
    )
    assert len(everything) == 2
    assert not any(secret in row["text"] for row in everything for secret in (token, PASSWORD))


async def test_a_known_address_gets_the_answer_of_an_unknown_one(ada: Visitor, mailbox: Mailbox) -> None:
    again = await ada.register(password="eleven blue bicycles", full_name="Eve")
    stranger = await ada.register(email="stranger@example.com")
    assert again.status_code == stranger.status_code == 201
    assert again.json() == stranger.json() | {"email": ada.email}
    assert [name for name in again.headers if name != "x-request-id"] == [
        name for name in stranger.headers if name != "x-request-id"
    ]
    assert await mailbox.templates(ada.email) == ["verify_email", "account_exists"]
    (_, notice) = await mailbox.mails(ada.email)
    assert notice["parameters"] == {"full_name": "Ada Buyer"}, "what a stranger typed is not mailed to the owner"
    assert (await ada.login()).status_code == 200
    assert (await ada.login("eleven blue bicycles")).status_code == 401


async def test_an_address_is_one_address_in_any_case(ada: Visitor, visitors: Visitors, mailbox: Mailbox) -> None:
    shouting = visitors(ada.email.upper())
    assert (await shouting.register()).json()["email"] == ada.email.upper()
    assert await mailbox.templates(ada.email) == ["verify_email", "account_exists"]
    assert (await shouting.login()).status_code == 200


async def test_a_link_confirms_the_registration_that_its_own_mail_told_of(
    visitor: Visitor, mailbox: Mailbox, database_urls: DatabaseUrls
) -> None:
    """A stranger registered the address first; its owner then opens the link in her own mail."""
    await visitor.register(password=STRANGERS, full_name="Mallory", company_name="Mallory & Sons")
    await visitor.register()
    strangers, own = await mailbox.tokens(visitor.email)
    assert (await visitor.verify(own)).status_code == 200
    assert (await visitor.login(STRANGERS)).json()["code"] == "invalid_credentials"
    granted = await visitor.login()
    me = (await visitor.me(granted.json()["access_token"])).json()
    assert (me["full_name"], me["company_name"]) == ("Ada Buyer", None)
    assert (await visitor.verify(strangers)).status_code == 400, "and the stranger's link is over"
    assert await rows(database_urls, "SELECT 1 FROM registrations") == []


async def test_a_stranger_who_registers_afterwards_changes_nothing_of_the_link_before(
    visitor: Visitor, mailbox: Mailbox
) -> None:
    await visitor.register()
    await visitor.register(password=STRANGERS, full_name="Mallory")
    own, _ = await mailbox.tokens(visitor.email)
    assert (await visitor.verify(own)).status_code == 200
    assert (await visitor.login(STRANGERS)).status_code == 401
    granted = await visitor.login()
    assert (await visitor.me(granted.json()["access_token"])).json()["full_name"] == "Ada Buyer"


async def test_the_mails_of_two_registrations_can_be_told_apart(visitor: Visitor, mailbox: Mailbox, clock: Any) -> None:
    await visitor.register(password=STRANGERS, full_name="Mallory")
    clock.now += timedelta(minutes=3)
    await visitor.register()
    first, second = [mail["parameters"] for mail in await mailbox.mails(visitor.email)]
    assert (first["others"], second["others"]) == ("", "yes")
    assert first["registered_at"] != second["registered_at"]


async def test_of_two_links_followed_at_once_one_makes_the_account(visitor: Visitor, mailbox: Mailbox) -> None:
    await visitor.register(password=STRANGERS, full_name="Mallory")
    await visitor.register()
    answers = await asyncio.gather(*(visitor.verify(token) for token in await mailbox.tokens(visitor.email)))
    assert sorted(answer.status_code for answer in answers) == [200, 400]
    signed_in = [(await visitor.login(password)).status_code for password in (STRANGERS, PASSWORD)]
    assert signed_in == [answer.status_code if answer.status_code == 200 else 401 for answer in answers]


async def test_what_an_unproved_account_holds_ends_when_it_is_proved(
    visitor: Visitor, mailbox: Mailbox, database_urls: DatabaseUrls, clock: Any
) -> None:
    """No unproved account can have these today. If one ever does, they must end with the proof."""
    await visitor.register()
    await change(database_urls, "UPDATE users SET email_verified_at = now()")
    await visitor.signed_in()
    await plant(database_urls, clock.now)
    await change(database_urls, "UPDATE users SET email_verified_at = NULL")
    (token,) = await mailbox.tokens(visitor.email)
    assert (await visitor.verify(token)).status_code == 200
    assert (await visitor.refresh()).status_code == 401
    assert "access_token" in (await visitor.login()).json()
    assert set(await ways_in(database_urls)) == {"sessions"}, "hers, from a moment ago"


async def test_a_registration_that_nobody_proved_gives_way_after_a_day(
    visitor: Visitor, mailbox: Mailbox, clock: Any
) -> None:
    await visitor.register(password="the squatter's password", full_name="Eve")
    clock.now += timedelta(hours=24)
    await visitor.register()
    stale, fresh = await mailbox.tokens(visitor.email)
    assert (await visitor.verify(stale)).status_code == 400
    assert (await visitor.verify(fresh)).status_code == 200
    assert (await visitor.login("the squatter's password")).status_code == 401
    granted = await visitor.login()
    assert (await visitor.me(granted.json()["access_token"])).json()["full_name"] == "Ada Buyer"


@pytest.mark.parametrize("proved", [True, False])
async def test_nobodys_mailbox_is_filled(
    visitor: Visitor, mailbox: Mailbox, clock: Any, database_urls: DatabaseUrls, proved: bool
) -> None:
    await visitor.register()
    if proved:
        await change(database_urls, "UPDATE users SET email_verified_at = now()")
    answers = [await visitor.register() for _ in range(6)]
    assert {answer.status_code for answer in answers} == {201}
    assert len(await mailbox.mails(visitor.email)) == 5
    clock.now += timedelta(hours=1)
    await visitor.register()
    assert len(await mailbox.mails(visitor.email)) == 6


async def test_of_two_registrations_at_once_one_makes_the_account(
    visitor: Visitor, mailbox: Mailbox, database_urls: DatabaseUrls
) -> None:
    answers = await asyncio.gather(*(visitor.register(full_name=f"Ada {number}") for number in range(3)))
    assert [answer.status_code for answer in answers] == [201] * 3
    assert len(await rows(database_urls, "SELECT id FROM users")) == 1
    assert await mailbox.templates(visitor.email) == ["verify_email"] * 3


async def test_a_link_works_once(visitor: Visitor, mailbox: Mailbox) -> None:
    await visitor.register()
    (token,) = await mailbox.tokens(visitor.email)
    answers = await asyncio.gather(*(visitor.verify(token) for _ in range(3)))
    assert sorted(answer.status_code for answer in answers) == [200, 400, 400]
    spent = await visitor.verify(token)
    assert spent.json()["errors"] == [
        {"field": "token", "detail": "unknown, used or expired", "code": "invalid", "params": {}}
    ]


@pytest.mark.parametrize(("hours", "status"), [(23.99, 200), (24, 400)])
async def test_a_link_works_for_a_day(
    visitor: Visitor, mailbox: Mailbox, clock: Any, hours: float, status: int
) -> None:
    await visitor.register()
    (token,) = await mailbox.tokens(visitor.email)
    clock.now += timedelta(hours=hours)
    assert (await visitor.verify(token)).status_code == status


async def test_a_token_of_another_purpose_proves_no_address(
    visitor: Visitor, mailbox: Mailbox, database_urls: DatabaseUrls
) -> None:
    await visitor.register()
    (token,) = await mailbox.tokens(visitor.email)
    await change(database_urls, "UPDATE one_time_tokens SET purpose = 'reset_password'")
    assert (await visitor.verify(token)).status_code == 400


@pytest.mark.parametrize("token", ["", "x" * 201, "' OR '1'='1", "\x00", "%00", "null", "../../x", "☃"])
async def test_what_is_no_token_proves_nothing(visitor: Visitor, token: str) -> None:
    await visitor.register()
    refused = await visitor.verify(token)
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_input")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"email": "no-at-sign"}, "email"),
        ({"email": "a@b@example.com"}, "email"),
        ({"email": "ada@localhost"}, "email"),
        ({"email": "ada@example.com\r\nBcc: all@example.com"}, "email"),
        ({"email": "ada@example.com\x00"}, "email"),
        ({"email": "ada@example.com, bob@example.com"}, "email"),
        ({"email": f"{'a' * 64}@{'b' * 63}.{'c' * 63}.{'d' * 63}"}, "email"),
        ({"email": "a" * 2000}, "email"),
        ({"email": ""}, "email"),
        ({"email": None}, "email"),
        ({"password": "short"}, "password"),
        ({"password": "p" * 129}, "password"),
        ({"password": "Password123!"}, "password"),
        ({"password": "ada@example.com", "email": "ada@example.com"}, "password"),
        ({"password": 1234567890}, "password"),
        ({"full_name": ""}, "full_name"),
        ({"full_name": "   "}, "full_name"),
        ({"full_name": "Ada\nBcc: all@example.com"}, "full_name"),
        ({"full_name": "Ada\x00"}, "full_name"),
        ({"full_name": "a" * 201}, "full_name"),
        ({"full_name": ["Ada"]}, "full_name"),
        ({"full_name": "Ada \u202egro.elgoog"}, "full_name"),
        ({"full_name": "Ada\u2066 Buyer\u2069"}, "full_name"),
        ({"full_name": "\u200f\u061cAda"}, "full_name"),
        ({"full_name": "\u200b"}, "full_name"),
        ({"company_name": "Buyers\u200e & Sons"}, "company_name"),
        ({"company_name": ""}, "company_name"),
        ({"company_name": "a\rb"}, "company_name"),
        ({"role": "admin"}, "role"),
        ({"is_active": True}, "is_active"),
    ],
)
async def test_what_cannot_be_taken_is_refused_by_name(
    visitor: Visitor, database_urls: DatabaseUrls, changes: dict[str, Any], field: str
) -> None:
    refused = await visitor.register(**changes)
    assert refused.status_code == 400
    assert refused.headers["content-type"] == "application/problem+json"
    problem = refused.json()
    assert (problem["code"], [error["field"] for error in problem["errors"]]) == ("invalid_input", [field])
    assert await rows(database_urls, "SELECT id FROM users") == []


async def test_everything_wrong_is_told_at_once(visitor: Visitor) -> None:
    refused = await visitor.register(email="nobody", password="short")
    assert [error["field"] for error in refused.json()["errors"]] == ["email", "password"]


async def test_everything_wrong_is_told_at_once_and_in_words(visitor: Visitor) -> None:
    refused = await visitor.register(email="nobody", password="short", full_name=" ", company_name="a\u202eb")
    errors = refused.json()["errors"]
    assert [error["field"] for error in errors] == ["email", "password", "full_name", "company_name"]
    assert not [error for error in errors if "\\" in error["detail"] or "^" in error["detail"]], errors


@pytest.mark.parametrize(
    "name",
    [
        "Robert'); DROP TABLE users;--",
        "<script>alert(1)</script>",
        "{{ 7 * 7 }}",
        "Zoë 王",
        "עדה",
        "می\u200cخواهم",
        "O'Neil %s %(a)s :b",
    ],
)
async def test_a_name_is_only_a_name(visitor: Visitor, mailbox: Mailbox, name: str) -> None:
    assert (await visitor.register(full_name=name, company_name=name)).status_code == 201
    (mail,) = await mailbox.mails(visitor.email)
    assert mail["parameters"]["full_name"] == name


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"null", b"[]", b'"text"', b"\xff\xfe", b'{"email":"\\ud800@example.com"}', b"{}" * 10, b"[" * 100_000],
)
@pytest.mark.parametrize("call", ["register", "login", "verify-email"])
async def test_a_body_that_is_none_is_the_senders_fault(visitor: Visitor, call: str, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    refused = await visitor.web.post(f"/api/v1/auth/{call}", content=body, headers=headers)
    assert refused.status_code == 400
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["code"] == "invalid_input"
