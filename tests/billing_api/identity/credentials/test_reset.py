"""Password reset: a link for accounts, one answer for every address, and all access revoked."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from billing_api.identity.login_throttle.rules import Guesser, GuesserKind
from billing_api.identity.login_throttle.service import GuessCounter, Wait
from core.settings import ApiSettings
from db.unit_of_work import Database
from tests.support.databases import change, rows
from tests.support.intruder import plant, ways_in
from tests.support.people import Desk
from tests.support.servers import DatabaseUrls
from tests.support.visitors import PASSWORD, Mailbox, Visitor

Visitors = Callable[..., Visitor]
Work = Callable[[], Awaitable[int]]
NEW = "eleven blue tricycles"


async def link(visitor: Visitor, mailbox: Mailbox, work: Work) -> str:
    """Asks for a link. Returns the token in it."""
    assert (await visitor.forgot()).status_code == 202
    await work()
    return (await mailbox.tokens(visitor.email))[-1]


@pytest.mark.parametrize("kind", ["known", "unproved", "suspended", "unknown"])
async def test_asking_is_the_same_work_and_the_same_answer_for_every_address(
    ada: Visitor, visitors: Visitors, mailbox: Mailbox, work: Work, database_urls: DatabaseUrls, kind: str
) -> None:
    asker = ada if kind == "known" else visitors()
    if kind in {"unproved", "suspended"}:
        await asker.register()
    if kind == "suspended":
        suspended = "UPDATE users SET email_verified_at = now(), is_active = false WHERE email = :email"
        await change(database_urls, suspended, email=asker.email)
    await change(database_urls, "DELETE FROM outbox")
    before = await mailbox.templates(asker.email)
    answer = await asker.forgot()
    assert (answer.status_code, answer.json()["email"]) == (202, asker.email)
    assert "If this address has an account" in answer.json()["message"]
    (job,) = await rows(database_urls, "SELECT lane, job FROM outbox")
    assert (job["lane"], job["job"]["type"]) == ("partner", "mail_reset_link")
    assert asker.email not in str(job), "what was typed is sealed"
    assert await mailbox.templates(asker.email) == before, "who has an account is found out later"
    await work()
    assert await mailbox.templates(asker.email) == before + ["reset_password"] * (kind == "known")


async def test_the_whole_road_back_into_an_account(
    ada: Visitor, visitors: Visitors, mailbox: Mailbox, work: Work, database_urls: DatabaseUrls
) -> None:
    await ada.login()
    token = await link(ada, mailbox, work)
    elsewhere = visitors(ada.email)
    assert (await elsewhere.reset(token, NEW)).status_code == 204
    assert (await ada.refresh()).status_code == 401, "every session ends"
    assert (await ada.login()).json()["code"] == "invalid_credentials"
    assert (await elsewhere.login(NEW)).status_code == 200
    assert await mailbox.templates(ada.email) == ["verify_email", "reset_password", "password_changed"]
    (user,) = await rows(database_urls, "SELECT id, password_hash FROM users")
    assert user["password_hash"].startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    (audit,) = await rows(database_urls, "SELECT * FROM audit_log")
    assert (audit["action"], audit["target_id"], audit["actor_id"]) == ("password.reset", str(user["id"]), user["id"])
    assert (audit["detail"], audit["request_id"] is None) == ({"sessions_ended": 1}, False)


async def test_whatever_lets_somebody_in_ends_with_a_reset(
    ada: Visitor, mailbox: Mailbox, work: Work, database_urls: DatabaseUrls, clock: Any
) -> None:
    """An intruder who knew the password set up an app, which would lock the owner out."""
    await ada.login()
    await plant(database_urls, clock.now - timedelta(days=30))
    token = await link(ada, mailbox, work)
    assert (await ada.reset(token, NEW)).status_code == 204
    assert await ways_in(database_urls) == {}
    assert "access_token" in (await ada.login(NEW)).json()
    notice = (await mailbox.mails(ada.email))[-1]
    assert notice["template"] == "password_changed"
    assert notice["parameters"]["ended"] == "the authenticator app and its recovery codes and OAuth clients (1)"


async def test_no_panel_is_let_in_by_a_token_that_was_made_before(
    ada: Visitor, mailbox: Mailbox, work: Work, desk: Desk, database_urls: DatabaseUrls
) -> None:
    """An intruder who knows the license key made an activation token, which could still give an API key."""
    (user,) = await rows(database_urls, "SELECT id FROM users")
    issued = await desk.a_license(user["id"])
    order = {"license_key": issued.key, "fingerprint": "machine-1"}

    async def a_token(password: str) -> str:
        bearer = {"Authorization": f"Bearer {(await ada.login(password)).json()['access_token']}"}
        made = await ada.web.post(f"/api/v1/licenses/{issued.license.id}/activation-tokens", headers=bearer)
        return str(made.json()["activation_token"])

    async def activated(token: str) -> tuple[int, str | None]:
        answer = await ada.web.post("/api/v1/nextpanel/activate", json=order | {"activation_token": token})
        return answer.status_code, answer.json().get("code")

    prepared = await a_token(PASSWORD)
    assert (await ada.reset(await link(ada, mailbox, work), NEW)).status_code == 204
    assert await activated(prepared) == (403, "activation_refused")
    assert (await mailbox.mails(ada.email))[-1]["parameters"]["ended"] == "activation tokens (1)"
    assert (await activated(await a_token(NEW)))[0] == 200


async def test_a_link_works_once_and_takes_the_others_with_it(ada: Visitor, mailbox: Mailbox, work: Work) -> None:
    first = await link(ada, mailbox, work)
    await change_nothing(ada, first)
    await ada.forgot()
    await work()
    tokens = (await mailbox.tokens(ada.email))[1:]
    assert len(set(tokens)) == len(tokens) == 2
    assert (await ada.reset(tokens[1], NEW)).status_code == 204
    for token in tokens:
        refused = await ada.reset(token, "thirteen red unicycles")
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (400, "token")
    assert (await ada.login(NEW)).status_code == 200


async def change_nothing(visitor: Visitor, token: str) -> None:
    """A weak password is refused with a reason, and the link stays valid."""
    refused = await visitor.reset(token, "Password123!")
    (error,) = refused.json()["errors"]
    assert (refused.status_code, error["field"]) == (400, "password")
    assert "easy to guess" in error["detail"]
    named = await visitor.reset(token, "ada buyer 1815")
    assert "what others know" in named.json()["detail"]
    assert (await visitor.login()).status_code == 200


async def test_of_two_resets_at_once_one_wins(ada: Visitor, mailbox: Mailbox, work: Work) -> None:
    token = await link(ada, mailbox, work)
    choices = [f"{number} red unicycles and a cart" for number in ("three", "four", "nine")]
    answers = await asyncio.gather(*(ada.reset(token, choice) for choice in choices))
    assert sorted(answer.status_code for answer in answers) == [204, 400, 400]
    logins = [(await ada.login(choice)).status_code for choice in choices]
    assert [status == 200 for status in logins] == [answer.status_code == 204 for answer in answers]
    assert (await mailbox.templates(ada.email)).count("password_changed") == 1


@pytest.mark.parametrize("meanwhile", ["an hour", "a suspension"])
async def test_a_link_does_not_outlast(
    ada: Visitor, mailbox: Mailbox, work: Work, clock: Any, database_urls: DatabaseUrls, meanwhile: str
) -> None:
    token = await link(ada, mailbox, work)
    if meanwhile == "an hour":
        clock.now += timedelta(hours=1)
    else:
        await change(database_urls, "UPDATE users SET is_active = false")
    assert (await ada.reset(token, NEW)).json()["code"] == "invalid_input"
    assert await rows(database_urls, "SELECT 1 FROM audit_log") == []


@pytest.mark.parametrize("token", ["x", "A" * 43, "' OR 1=1 --", "x" * 201, ""])
async def test_what_is_no_link_of_ours_is_refused(ada: Visitor, token: str) -> None:
    assert (await ada.reset(token, NEW)).status_code == 400
    assert (await ada.login()).status_code == 200


async def test_a_verification_link_sets_no_password(visitor: Visitor, mailbox: Mailbox) -> None:
    await visitor.register()
    (token,) = await mailbox.tokens(visitor.email)
    assert (await visitor.reset(token, NEW)).status_code == 400
    assert (await visitor.verify(token)).status_code == 200


async def test_a_job_that_is_performed_twice_sends_one_mail(ada: Visitor, mailbox: Mailbox, work: Work) -> None:
    await ada.forgot()
    await work()
    await work()
    assert await mailbox.templates(ada.email) == ["verify_email", "reset_password"]


async def test_nobodys_mailbox_is_filled(ada: Visitor, mailbox: Mailbox, work: Work, clock: Any) -> None:
    for _ in range(7):
        assert (await ada.forgot()).status_code == 202
    assert await work() == 7
    assert (await mailbox.templates(ada.email)).count("reset_password") == 5
    clock.now += timedelta(hours=1)
    assert (await ada.reset((await mailbox.tokens(ada.email))[1], NEW)).status_code == 400
    fresh = await link(ada, mailbox, work)
    assert (await ada.reset(fresh, NEW)).status_code == 204


@pytest.mark.parametrize("email", ["nobody", "a b@example.com", "a@example.com\r\nBcc: b@example.com", ""])
async def test_what_is_no_address_is_told(visitor: Visitor, email: str, database_urls: DatabaseUrls) -> None:
    visitor.email = email
    refused = await visitor.forgot()
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (400, "email")
    assert await rows(database_urls, "SELECT 1 FROM outbox") == []


async def test_who_reads_the_owners_mail_need_not_wait_for_strangers(
    ada: Visitor,
    visitors: Visitors,
    mailbox: Mailbox,
    work: Work,
    settings: ApiSettings,
    database: Database,
    clock: Any,
) -> None:
    """The owner can sign in on a new device while an attacker keeps guessing."""
    counter, counted = GuessCounter(settings.secrets.index, clock), None
    for number in range(100):
        async with database.as_system() as tx:
            stranger = Guesser(GuesserKind.ADDRESS, f"203.0.113.{number}")
            counted = await counter.count(tx, ada.email, stranger, user_id=None)
    assert isinstance(counted, Wait)
    new_device = visitors(ada.email, comes_from="192.0.2.50")
    assert (await new_device.login()).status_code == 429
    assert (await new_device.reset(await link(ada, mailbox, work), NEW)).status_code == 204
    assert (await new_device.login(NEW)).status_code == 200
    assert (await new_device.login(PASSWORD)).status_code == 401
