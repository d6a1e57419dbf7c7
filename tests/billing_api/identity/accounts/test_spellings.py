"""Canonical e-mail addresses: one mailbox has one account in registration, sign-in, changes and search."""

from collections.abc import Callable
from typing import Any

import pytest

from core.ids import new_id
from db.models.identity import Role
from tests.billing_api.conftest import Client
from tests.support.databases import rows
from tests.support.people import Desk
from tests.support.servers import DatabaseUrls
from tests.support.visitors import PASSWORD, Mailbox, Visitor

Visitors = Callable[..., Visitor]
ANOTHER = "violet lantern 93 harbor"

SPELLINGS = {
    "composed and decomposed": ("jos\u00e9{n}@example.com", "jose\u0301{n}@example.com"),
    "domain in Punycode": ("m{n}@m\u00fcnchen.example.com", "m{n}@xn--mnchen-3ya.example.com"),
    "domain in Unicode": ("m{n}@xn--mnchen-3ya.example.com", "m{n}@M\u00dcNCHEN.example.com"),
    "full width": ("w{n}@example.com", "w{n}@\uff45xample.com"),
    "another dot": ("w{n}@mail.example.com", "w{n}@mail\u3002example.com"),
}


@pytest.fixture(params=SPELLINGS.values(), ids=list(SPELLINGS))
def spelled(request: Any) -> tuple[str, str]:
    number = new_id().hex
    return request.param[0].format(n=number), request.param[1].format(n=number)


@pytest.fixture
async def owner(visitors: Visitors, mailbox: Mailbox, spelled: tuple[str, str]) -> Visitor:
    """Registered with the first spelling, and proved."""
    visitor = visitors(spelled[0])
    assert (await visitor.register()).status_code == 201
    (token,) = await mailbox.tokens(visitor.email)
    assert (await visitor.verify(token)).status_code == 200
    return visitor


async def test_there_is_one_account_and_both_spellings_sign_in(
    owner: Visitor, visitors: Visitors, mailbox: Mailbox, spelled: tuple[str, str], database_urls: DatabaseUrls
) -> None:
    second = visitors(spelled[1])
    assert (await second.register(password=ANOTHER)).json()["email"] == spelled[1], "nobody is told anything by it"
    assert len(await rows(database_urls, "SELECT 1 FROM users")) == 1
    assert await mailbox.templates(spelled[0]) == ["verify_email", "account_exists"], "mailed as it was typed first"
    assert (await second.login(ANOTHER)).status_code == 401
    granted = await second.login()
    me = await second.me(granted.json()["access_token"])
    assert me.json()["email"] == spelled[0], "the address stays as it was typed"


async def test_a_strangers_spelling_keeps_no_link_from_the_owner(
    visitors: Visitors, mailbox: Mailbox, spelled: tuple[str, str], database_urls: DatabaseUrls
) -> None:
    """Each link is mailed to the address of its own registration, and makes that the account's address."""
    stranger, owner = visitors(spelled[1]), visitors(spelled[0])
    await stranger.register(password=ANOTHER, full_name="Mallory")
    await owner.register()
    assert len(await mailbox.mails(stranger.email)) == len(await mailbox.mails(owner.email)) == 1
    (token,) = await mailbox.tokens(owner.email)
    assert (await owner.verify(token)).json()["email"] == owner.email
    assert (await stranger.login(ANOTHER)).status_code == 401
    granted = await stranger.login()
    assert (await owner.me(granted.json()["access_token"])).json()["email"] == owner.email
    assert len(await rows(database_urls, "SELECT 1 FROM users")) == 1


async def test_guesses_under_another_spelling_are_guesses_at_the_same_account(
    owner: Visitor, visitors: Visitors, spelled: tuple[str, str]
) -> None:
    attackers = [visitors(each, comes_from="192.0.2.9") for each in spelled]
    answers = [await attackers[number % 2].login(f"guess {number}") for number in range(6)]
    assert [answer.status_code for answer in answers] == [401] * 5 + [429]


async def test_an_address_is_changed_to_no_other_spelling_of_somebodys(
    owner: Visitor, ada: Visitor, mailbox: Mailbox, spelled: tuple[str, str]
) -> None:
    wish = {"email": spelled[1], "password": PASSWORD}
    headers = await ada.signed_in()
    assert (await ada.web.post("/api/v1/me/email", json=wish, headers=headers)).status_code == 202
    assert await mailbox.mails(spelled[1]) == []
    assert (await mailbox.templates(spelled[0]))[-1] == "account_exists"


async def test_respelling_ones_own_is_a_change_of_the_address_and_not_of_the_account(
    owner: Visitor, mailbox: Mailbox, spelled: tuple[str, str], visitors: Visitors
) -> None:
    wish = {"email": spelled[1], "password": PASSWORD}
    headers = await owner.signed_in()
    assert (await owner.web.post("/api/v1/me/email", json=wish, headers=headers)).status_code == 202
    token = (await mailbox.tokens(spelled[1]))[-1]
    assert (await owner.post("email/confirm", {"token": token})).json() == {"email": spelled[1]}
    for each in spelled:
        assert (await visitors(each).login()).status_code == 200


async def test_spellings_fill_no_mailbox(ada: Visitor, mailbox: Mailbox, spelled: tuple[str, str]) -> None:
    """A mailbox gets at most five mails an hour, for every caller and every spelling."""
    headers = await ada.signed_in()
    for number in range(5):
        wish = {"email": spelled[number % 2], "password": PASSWORD}
        assert (await ada.web.post("/api/v1/me/email", json=wish, headers=headers)).status_code == 202
    other = {"full_name": "Bob", "password": PASSWORD, "email": f"{new_id().hex}@example.com"}
    bob = Visitor(ada.web, other["email"])
    await bob.register()
    await bob.verify((await mailbox.tokens(bob.email))[0])
    headers = await bob.signed_in()
    wish = {"email": spelled[0], "password": PASSWORD}
    assert (await bob.web.post("/api/v1/me/email", json=wish, headers=headers)).status_code == 202
    assert len(await mailbox.mails(spelled[0])) + len(await mailbox.mails(spelled[1])) == 5


async def test_staff_find_it_by_either_spelling(
    client: Client, owner: Visitor, desk: Desk, spelled: tuple[str, str]
) -> None:
    staff = await desk.staff(Role.ADMIN)
    for each in spelled:
        order = {"email": each, "plan": "starter"}
        issued = await client.post("/api/v1/admin/licenses", json=order, headers=staff)
        assert issued.status_code == 201, issued.text
        for path in ("admin/users", "admin/licenses"):
            found = (await client.get(f"/api/v1/{path}", params={"email": each}, headers=staff)).json()
            assert found["total"] >= 1, (path, each)
        by_part = (await client.get("/api/v1/admin/users", params={"q": each.partition("@")[0]}, headers=staff)).json()
        assert [user["email"] for user in by_part["items"]] == [spelled[0]]
