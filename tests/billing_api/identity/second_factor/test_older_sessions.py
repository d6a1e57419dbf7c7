"""Sessions from before the second factor: once it is switched on, they need it too."""

import asyncio
from datetime import timedelta

import pytest
from litestar import Litestar
from sqlalchemy import text

from tests.billing_api.conftest import FakeTime
from tests.support.databases import as_owner, change, rows, until_blocked
from tests.support.members import Member, another_browser
from tests.support.servers import DatabaseUrls
from tests.support.visitors import PASSWORD, Mailbox

GUARDED = [
    ("POST", "me/mfa/totp"),
    ("DELETE", "me/mfa/totp"),
    ("POST", "me/mfa/recovery-codes"),
    ("POST", "me/oauth-clients"),
    ("GET", "me/export"),
    ("DELETE", "me"),
]


async def test_switching_it_on_ends_the_sessions_that_never_gave_it(
    app: Litestar, ada: Member, database_urls: DatabaseUrls
) -> None:
    async with another_browser(app, ada) as other:
        await other.sign_in()
        await ada.enroll()
        assert (await other.call("GET", "me")).status_code == 401
        assert (await other.refresh()).status_code == 401
        assert (await ada.call("GET", "me")).status_code == 200
    (audit,) = await rows(database_urls, "SELECT detail FROM audit_log WHERE action = 'second_factor.enabled'")
    assert audit["detail"]["sessions_ended"] >= 1


async def test_switching_it_on_ends_a_change_of_address_that_was_asked_for_without_it(
    app: Litestar, ada: Member, mailbox: Mailbox, database_urls: DatabaseUrls
) -> None:
    """An intruder who knows the password asks for a new address: its mailbox could reset password and factor."""
    async with another_browser(app, ada) as thief:
        await thief.sign_in()
        wish = {"email": "thief@example.net", "password": "seven green bicycles"}
        assert (await thief.call("POST", "me/email", wish)).status_code == 202
        (token,) = await mailbox.tokens("thief@example.net")
        await ada.enroll()
        assert (await thief.post("email/confirm", {"token": token})).status_code == 400
    assert await rows(database_urls, "SELECT email FROM users") == [{"email": ada.email}]


async def test_the_session_that_switched_it_on_has_given_it(ada: Member, clock: FakeTime) -> None:
    await ada.enroll()
    clock.now += timedelta(minutes=1)
    assert (await ada.call("POST", "me/mfa/recovery-codes")).status_code == 201
    ada.access_token = (await ada.refresh()).json()["access_token"]
    assert (await ada.call("POST", "me/mfa/recovery-codes")).status_code == 201


@pytest.mark.parametrize(("method", "path"), GUARDED)
async def test_a_recent_password_is_not_enough_where_the_account_has_a_factor(
    app: Litestar, enrolled: Member, clock: FakeTime, database_urls: DatabaseUrls, method: str, path: str
) -> None:
    """A session without the factor that is still live, for example because it was opened in the same moment."""
    await change(database_urls, "UPDATE sessions SET amr = '[\"pwd\"]' WHERE revoked_at IS NULL")
    refused = await enrolled.call(method, path, {} if method == "POST" else None)
    assert (refused.status_code, refused.json()["code"]) == (403, "step_up_required")
    assert "authenticator app" in refused.json()["detail"]
    assert len(await rows(database_urls, "SELECT 1 FROM totp_factors")) == 1
    stepped = await enrolled.step_up(code=enrolled.code())
    enrolled.access_token = stepped.json()["access_token"]
    assert (await enrolled.call("POST", "me/mfa/recovery-codes")).status_code == 201


async def test_a_sign_in_does_not_slip_past_the_switch(app: Litestar, ada: Member, database_urls: DatabaseUrls) -> None:
    """A sign-in during the confirmation waits for the lock. Then it has ended, or is asked for the factor."""
    ada.secret = (await ada.call("POST", "me/mfa/totp")).json()["secret"]
    async with another_browser(app, ada) as other:
        async with as_owner(database_urls) as owner:
            await owner.execute(text("SELECT 1 FROM users FOR UPDATE"))
            confirming = asyncio.create_task(ada.call("POST", "me/mfa/totp/confirm", {"code": ada.code()}))
            await until_blocked(database_urls)
            signing_in = asyncio.create_task(other.login())
        assert (await confirming).status_code == 200
        granted = (await signing_in).json()
        if "access_token" in granted:
            other.access_token = granted["access_token"]
            assert (await other.call("GET", "me")).status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "order"),
    [
        ("POST", "me/email", {"email": "thief@example.net", "password": PASSWORD}),
        ("POST", "me/password", {"current_password": PASSWORD, "new_password": "eleven blue tricycles"}),
        ("DELETE", "me", {"password": PASSWORD}),
    ],
)
async def test_nothing_slips_past_the_switch_with_the_password(
    app: Litestar, ada: Member, database_urls: DatabaseUrls, method: str, path: str, order: dict[str, str]
) -> None:
    """A session that the confirmation ends asks for a change of address meanwhile: it has no effect."""
    ada.secret = (await ada.call("POST", "me/mfa/totp")).json()["secret"]
    async with another_browser(app, ada) as thief:
        await thief.sign_in()
        async with as_owner(database_urls) as owner:
            await owner.execute(text("SELECT 1 FROM users FOR UPDATE"))
            confirming = asyncio.create_task(ada.call("POST", "me/mfa/totp/confirm", {"code": ada.code()}))
            await until_blocked(database_urls)
            asking = asyncio.create_task(thief.call(method, path, order))
            await until_blocked(database_urls, 2)
        assert (await confirming).status_code == 200
        assert (await asking).status_code == 401
    assert await rows(database_urls, "SELECT 1 FROM email_changes") == []
    assert (await ada.login()).json()["mfa_required"] is True


async def test_the_address_is_changed_with_the_factor_too(enrolled: Member, clock: FakeTime) -> None:
    """A mailbox can reset the password, which ends the factor. So a change of address needs the factor."""
    wish = {"email": "elsewhere@example.com", "password": "seven green bicycles"}
    clock.now += timedelta(minutes=6)
    refused = await enrolled.call("POST", "me/email", wish)
    assert (refused.status_code, refused.json()["code"]) == (403, "step_up_required")
    enrolled.access_token = (await enrolled.step_up(code=enrolled.code())).json()["access_token"]
    assert (await enrolled.call("POST", "me/email", wish)).status_code == 202


async def test_without_a_factor_the_password_in_the_request_is_enough(ada: Member, clock: FakeTime) -> None:
    clock.now += timedelta(minutes=6)
    wish = {"email": "elsewhere@example.com", "password": "seven green bicycles"}
    assert (await ada.call("POST", "me/email", wish)).status_code == 202
