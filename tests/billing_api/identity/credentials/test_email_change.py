"""Change of the e-mail address: nothing changes before the new one is proved, and the old one can undo it."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest

from core.ids import new_id
from tests.support.databases import change, rows
from tests.support.intruder import plant, ways_in
from tests.support.servers import DatabaseUrls
from tests.support.visitors import PASSWORD, Mailbox, Visitor

Visitors = Callable[..., Visitor]
Work = Callable[[], Awaitable[int]]
NEW_PASSWORD = "eleven blue tricycles"
OWNERS_LINK = {"one_time_tokens": 1}
"""What is left after an undo: the link that it mails to the address that is back."""


@pytest.fixture
def new() -> str:
    return f"New.{new_id().hex}@example.com"


async def ask(visitor: Visitor, email: str, password: str = PASSWORD) -> httpx.Response:
    headers = await visitor.signed_in()
    return await visitor.web.post("/api/v1/me/email", json={"email": email, "password": password}, headers=headers)


async def confirm(visitor: Visitor, token: str) -> httpx.Response:
    return await visitor.post("email/confirm", {"token": token})


async def undo(visitor: Visitor, token: str) -> httpx.Response:
    return await visitor.post("email/undo", {"token": token})


async def move(visitor: Visitor, mailbox: Mailbox, email: str) -> str:
    """Changes the address. Returns the token with which the old address can undo it."""
    former = visitor.email
    assert (await ask(visitor, email)).status_code == 202
    assert (await confirm(visitor, (await mailbox.tokens(email))[-1])).status_code == 200
    visitor.email = email
    return (await mailbox.tokens(former))[-1]


async def addresses(database_urls: DatabaseUrls) -> list[str]:
    return [row["email"] for row in await rows(database_urls, "SELECT email FROM users ORDER BY created_at")]


async def test_the_whole_road_to_another_address(
    ada: Visitor, mailbox: Mailbox, new: str, database_urls: DatabaseUrls
) -> None:
    old = ada.email
    asked = await ask(ada, new)
    assert (asked.status_code, asked.json()["email"]) == (202, new)
    assert await mailbox.templates(new) == ["confirm_new_email"]
    notice = (await mailbox.mails(old))[-1]
    assert (notice["template"], notice["parameters"]["new_email"]) == ("email_change_asked", new)
    assert "token_sealed" not in notice["parameters"]
    assert await addresses(database_urls) == [old], "nothing has changed yet"

    (token,) = await mailbox.tokens(new)
    changed = await confirm(ada, token)
    assert (changed.status_code, changed.json()) == (200, {"email": new})
    assert (await mailbox.templates(old))[-1] == "email_changed"
    assert (await ada.login()).status_code == 401
    ada.email = new.lower()
    assert (await ada.login()).status_code == 200
    assert (await confirm(ada, token)).status_code == 400, "the link works once"
    audits = await rows(database_urls, "SELECT action FROM audit_log ORDER BY id")
    assert [audit["action"] for audit in audits] == ["email.change_asked", "email.changed"]


async def test_the_password_is_asked_for(ada: Visitor, mailbox: Mailbox, new: str) -> None:
    refused = await ask(ada, new, password="not her password")
    assert (refused.status_code, refused.json()["code"]) == (401, "invalid_credentials")
    assert await mailbox.mails(new) == []


async def test_who_asks_does_not_learn_who_has_an_account(
    ada: Visitor, visitors: Visitors, mailbox: Mailbox, new: str
) -> None:
    bob = visitors()
    await bob.register()
    assert (await bob.verify((await mailbox.tokens(bob.email))[0])).status_code == 200
    taken, free = await ask(ada, bob.email.upper()), await ask(ada, new)
    assert taken.status_code == free.status_code == 202
    assert taken.json() == free.json() | {"email": bob.email.upper()}
    assert await mailbox.templates(bob.email) == ["verify_email", "account_exists"]
    assert (await mailbox.mails(bob.email))[-1]["recipient"] == bob.email


async def test_an_address_that_was_taken_meanwhile_stays_its_owners(
    ada: Visitor, visitors: Visitors, mailbox: Mailbox, new: str, database_urls: DatabaseUrls
) -> None:
    old = ada.email
    await ask(ada, new)
    (token,) = await mailbox.tokens(new)
    bob = visitors(new.upper())
    await bob.register()
    assert (await bob.verify((await mailbox.tokens(new))[-1])).status_code == 200
    refused = await confirm(ada, token)
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert await addresses(database_urls) == [old, new.upper()]


@pytest.mark.parametrize("when", ["before", "meanwhile"])
async def test_a_registration_that_nobody_proved_keeps_no_address_from_its_owner(
    ada: Visitor, visitors: Visitors, mailbox: Mailbox, new: str, when: str
) -> None:
    """A stranger registered the address without proof. The mailbox's owner moves an own account to it."""
    mallory = visitors(new.upper())
    if when == "before":
        await mallory.register(password=NEW_PASSWORD)
    assert (await ask(ada, new)).status_code == 202
    token = (await mailbox.tokens(new))[-1]
    if when == "meanwhile":
        await mallory.register(password=NEW_PASSWORD)
    assert (await confirm(ada, token)).status_code == 200
    assert (await mallory.login(NEW_PASSWORD)).json()["code"] == "invalid_credentials"
    ada.email = new
    assert (await ada.login()).status_code == 200
    strangers = [each for each in await mailbox.tokens(new) if each != token]
    assert {(await mallory.verify(each)).status_code for each in strangers} == {400}


async def test_a_thief_keeps_no_address_by_registering_it(
    ada: Visitor, visitors: Visitors, mailbox: Mailbox, new: str, database_urls: DatabaseUrls
) -> None:
    old, token = ada.email, await move(ada, mailbox, new)
    await visitors(old).register(password=NEW_PASSWORD)
    assert (await undo(ada, token)).status_code == 200
    assert old in await addresses(database_urls)
    assert (await visitors(old).login(NEW_PASSWORD)).json()["code"] == "invalid_credentials"


async def test_of_two_clicks_at_once_one_changes_it(ada: Visitor, mailbox: Mailbox, new: str) -> None:
    await ask(ada, new)
    (token,) = await mailbox.tokens(new)
    answers = await asyncio.gather(*(confirm(ada, token) for _ in range(3)))
    assert sorted(answer.status_code for answer in answers) == [200, 400, 400]
    assert (await mailbox.templates(ada.email)).count("email_changed") == 1


async def test_of_two_people_who_want_an_address_the_first_to_prove_it_gets_it(
    ada: Visitor, visitors: Visitors, mailbox: Mailbox, new: str
) -> None:
    bob = visitors()
    await bob.register()
    assert (await bob.verify((await mailbox.tokens(bob.email))[0])).status_code == 200
    for each in (ada, bob):
        assert (await ask(each, new)).status_code == 202
    answers = await asyncio.gather(*(confirm(ada, token) for token in await mailbox.tokens(new)))
    assert sorted(answer.status_code for answer in answers) == [200, 409]


async def test_ones_own_address_in_other_letters_is_a_change(
    ada: Visitor, mailbox: Mailbox, database_urls: DatabaseUrls
) -> None:
    assert (await ask(ada, ada.email)).status_code == 400
    assert (await ask(ada, ada.email.upper())).status_code == 202
    assert (await confirm(ada, (await mailbox.tokens(ada.email))[-1])).status_code == 200
    assert await addresses(database_urls) == [ada.email.upper()]


async def test_another_wish_replaces_the_one_before(ada: Visitor, mailbox: Mailbox, new: str) -> None:
    await ask(ada, new)
    await ask(ada, f"other-{new}")
    assert (await confirm(ada, (await mailbox.tokens(new))[0])).status_code == 400
    assert (await confirm(ada, (await mailbox.tokens(f"other-{new}"))[0])).status_code == 200


async def test_a_link_is_good_for_a_day(ada: Visitor, mailbox: Mailbox, new: str, clock: Any) -> None:
    await ask(ada, new)
    clock.now += timedelta(hours=24)
    assert (await confirm(ada, (await mailbox.tokens(new))[0])).status_code == 400


async def test_a_new_password_drops_a_change_that_waits(ada: Visitor, mailbox: Mailbox, work: Work, new: str) -> None:
    """The owner has read the notice and acts on it."""
    await ask(ada, new)
    await ada.forgot()
    await work()
    assert (await ada.reset((await mailbox.tokens(ada.email))[-1], NEW_PASSWORD)).status_code == 204
    assert (await confirm(ada, (await mailbox.tokens(new))[0])).status_code == 400


async def test_reset_links_that_went_to_the_old_address_die_with_it(
    ada: Visitor, mailbox: Mailbox, work: Work, new: str
) -> None:
    await ada.forgot()
    await work()
    stale = (await mailbox.tokens(ada.email))[-1]
    await move(ada, mailbox, new)
    assert (await ada.reset(stale, NEW_PASSWORD)).status_code == 400


async def test_the_old_address_takes_the_account_back(
    ada: Visitor, visitors: Visitors, mailbox: Mailbox, work: Work, new: str, database_urls: DatabaseUrls
) -> None:
    old, thief = ada.email, visitors(ada.email)
    token = await move(thief, mailbox, new)
    back = await undo(ada, token)
    assert (back.status_code, back.json()) == (200, {"email": old})
    assert (await thief.refresh()).status_code == 401
    for email in (old, new):
        thief.email = email
        assert (await thief.login()).json()["code"] == "invalid_credentials", "though the thief knows the password"
    await work()
    assert (await ada.reset((await mailbox.tokens(old))[-1], NEW_PASSWORD)).status_code == 204
    assert (await ada.login(NEW_PASSWORD)).status_code == 200
    assert (await undo(ada, token)).status_code == 400, "the link works once"
    actions = [row["action"] for row in await rows(database_urls, "SELECT action FROM audit_log ORDER BY id")]
    assert actions == ["email.change_asked", "email.changed", "email.restored", "password.reset"]


async def test_the_owner_gets_a_link_whatever_a_thief_has_asked_for(
    ada: Visitor, mailbox: Mailbox, work: Work, new: str
) -> None:
    """An intruder cannot block the undo by using up the mails of this hour first."""
    old, thief = ada.email, Visitor(ada.web, ada.email)
    for _ in range(6):
        await thief.forgot()
    await work()
    assert (await mailbox.templates(old)).count("reset_password") == 5
    token = await move(thief, mailbox, new)
    assert (await undo(ada, token)).status_code == 200
    await work()
    assert (await mailbox.templates(old)).count("reset_password") == 6
    assert (await ada.reset((await mailbox.tokens(old))[-1], NEW_PASSWORD)).status_code == 204


async def test_a_thief_gains_nothing_by_changing_twice_or_by_a_new_password(
    ada: Visitor,
    visitors: Visitors,
    mailbox: Mailbox,
    work: Work,
    new: str,
    database_urls: DatabaseUrls,
    clock: Any,
) -> None:
    old, thief = ada.email, visitors(ada.email)
    token = await move(thief, mailbox, new)
    later = await move(thief, mailbox, f"second-{new}")
    await thief.forgot()
    await work()
    assert (await thief.reset((await mailbox.tokens(thief.email))[-1], NEW_PASSWORD)).status_code == 204
    await plant(database_urls, clock.now)
    assert (await undo(ada, token)).status_code == 200
    assert await addresses(database_urls) == [old]
    assert (await undo(thief, later)).status_code == 400
    assert await ways_in(database_urls) == OWNERS_LINK


@pytest.mark.parametrize("made", ["long before", "just before", "afterwards"])
async def test_whatever_lets_somebody_in_ends_with_an_undo(
    ada: Visitor, mailbox: Mailbox, new: str, database_urls: DatabaseUrls, clock: Any, made: str
) -> None:
    """A thief prepares other access before changing the address. Nobody can tell it from the owner's."""
    age = {"long before": timedelta(days=30), "just before": timedelta(seconds=1), "afterwards": timedelta(0)}[made]
    if made == "afterwards":
        token = await move(ada, mailbox, new)
        await plant(database_urls, clock.now - age)
    else:
        await plant(database_urls, clock.now - age)
        await change(database_urls, "DELETE FROM totp_factors")  # the address is changed with the password alone
        token = await move(ada, mailbox, new)
        await plant(database_urls, clock.now - age, only="totp_factors")
    assert (await undo(ada, token)).status_code == 200
    assert await ways_in(database_urls) == OWNERS_LINK
    (restored,) = await rows(database_urls, "SELECT detail FROM audit_log WHERE action = 'email.restored'")
    assert restored["detail"]["second_factor_removed"] is True
    assert restored["detail"]["clients_revoked"] == 1


async def test_undoing_ends_after_a_week(ada: Visitor, mailbox: Mailbox, new: str, clock: Any) -> None:
    token = await move(ada, mailbox, new)
    clock.now += timedelta(days=7)
    assert (await undo(ada, token)).status_code == 400


async def test_an_old_address_that_has_another_account_by_now_is_not_taken_from_it(
    ada: Visitor, visitors: Visitors, mailbox: Mailbox, new: str, database_urls: DatabaseUrls
) -> None:
    old = ada.email
    token = await move(ada, mailbox, new)
    other = visitors(old)
    await other.register()
    assert (await other.verify((await mailbox.tokens(old))[-1])).status_code == 200
    assert (await undo(ada, token)).status_code == 409
    assert await addresses(database_urls) == [new, old]


async def test_nobodys_mailbox_is_filled(ada: Visitor, mailbox: Mailbox, new: str, clock: Any) -> None:
    statuses = [(await ask(ada, new)).status_code for _ in range(6)]
    assert statuses == [202] * 5 + [429]
    assert len(await mailbox.mails(new)) == 5
    clock.now += timedelta(hours=1)
    assert (await ask(ada, new)).status_code == 202


@pytest.mark.parametrize("email", ["nobody", "a@example.com\r\nBcc: b@example.com", "a@example.com, b@example.com"])
async def test_what_is_no_address_is_refused(ada: Visitor, email: str) -> None:
    refused = await ask(ada, email)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (400, "email")


@pytest.mark.parametrize("token", ["x", "A" * 43, "' OR 1=1 --"])
async def test_what_is_no_link_of_ours_is_refused(ada: Visitor, token: str) -> None:
    for answer in (await confirm(ada, token), await undo(ada, token)):
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_input")
