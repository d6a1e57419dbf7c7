"""Step-up: what makes a sign-in recent again, and what the thief of an access token can try."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pytest
from litestar import Litestar

from billing_api.access.tokens import TokenIssuer
from core.settings import ApiSettings
from tests.billing_api.conftest import FakeTime
from tests.support.databases import change, rows
from tests.support.members import Member, another_browser
from tests.support.servers import DatabaseUrls
from tests.support.visitors import PASSWORD

SOMETHING_RECENT = ("POST", "me/mfa/totp")


def outcome(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def test_the_password_makes_a_sign_in_recent_again(
    ada: Member, settings: ApiSettings, clock: FakeTime, database_urls: DatabaseUrls
) -> None:
    assert outcome(await ada.call(*SOMETHING_RECENT)) == (403, "step_up_required")
    stepped = await ada.step_up()
    assert (stepped.status_code, stepped.headers["cache-control"]) == (200, "no-store")
    assert stepped.json().keys() == {"access_token", "token_type", "expires_in"}
    assert "set-cookie" not in stepped.headers
    tokens = TokenIssuer(settings.jwt_keys, clock)
    before, after = tokens.read(ada.access_token), tokens.read(stepped.json()["access_token"])
    assert (after.user_id, after.session_id, after.amr) == (before.user_id, before.session_id, ("pwd",))
    assert clock() - after.authenticated_at < timedelta(seconds=1)
    assert outcome(await ada.call(*SOMETHING_RECENT)) == (403, "step_up_required"), (
        "the old token stays as old as it is"
    )
    ada.access_token = stepped.json()["access_token"]
    assert (await ada.call(*SOMETHING_RECENT)).status_code == 201
    (audit,) = await rows(database_urls, "SELECT target_id, detail FROM audit_log WHERE action = 'session.stepped_up'")
    assert audit == {"target_id": str(before.session_id), "detail": {"amr": ["pwd"]}}


async def test_a_refresh_afterwards_stays_as_recent_and_no_more(ada: Member, clock: FakeTime) -> None:
    await ada.step_up()
    clock.now += timedelta(minutes=4)
    ada.access_token = (await ada.refresh()).json()["access_token"]
    assert (await ada.call(*SOMETHING_RECENT)).status_code == 201
    clock.now += timedelta(minutes=2)
    ada.access_token = (await ada.refresh()).json()["access_token"]
    assert outcome(await ada.call(*SOMETHING_RECENT)) == (403, "step_up_required")


async def test_who_has_a_factor_gives_it_as_well(bob: Member, settings: ApiSettings, clock: FakeTime) -> None:
    assert outcome(await bob.step_up()) == (403, "second_factor_required")
    assert outcome(await bob.step_up(code=bob.code(9))) == (401, "invalid_second_factor")
    stepped = await bob.step_up(code=bob.code())
    assert TokenIssuer(settings.jwt_keys, clock).read(stepped.json()["access_token"]).amr == ("pwd", "otp")
    assert outcome(await bob.step_up(code=bob.code())) == (401, "invalid_second_factor"), "each code once"


async def test_the_right_code_does_not_make_up_for_the_password(bob: Member) -> None:
    assert outcome(await bob.step_up("not the password", code=bob.code())) == (401, "invalid_credentials")
    assert (await bob.step_up(code=bob.code())).status_code == 200, "and it was not used up"


async def test_who_has_no_factor_is_not_asked_for_what_he_gives(ada: Member) -> None:
    assert (await ada.step_up(code="123456")).status_code == 200


async def test_five_wrong_step_ups_end_the_session_and_no_other(
    app: Litestar, ada: Member, database_urls: DatabaseUrls
) -> None:
    async with another_browser(app, ada) as elsewhere:
        await elsewhere.sign_in()
        for _ in range(4):
            assert outcome(await ada.step_up("not her password")) == (401, "invalid_credentials")
            assert (await ada.call("GET", "me")).status_code == 200
        assert outcome(await ada.step_up("not her password")) == (401, "unauthenticated")
        assert outcome(await ada.call("GET", "me")) == (401, "unauthenticated")
        assert outcome(await ada.step_up()) == (401, "unauthenticated"), "the right one comes too late"
        assert (await ada.refresh()).status_code == 401
        assert (await elsewhere.step_up()).status_code == 200, "another session of hers has its own count"
    (audit,) = await rows(database_urls, "SELECT detail FROM audit_log WHERE action = 'session.revoked'")
    assert audit["detail"]["cause"] == "5 wrong step-ups"
    await ada.sign_in()
    assert (await ada.step_up()).status_code == 200


async def test_wrong_codes_count_as_wrong_passwords_do(bob: Member) -> None:
    for _ in range(2):
        assert outcome(await bob.step_up("not the password")) == (401, "invalid_credentials")
        assert outcome(await bob.step_up(code=bob.code(9))) == (401, "invalid_second_factor")
        assert outcome(await bob.step_up()) == (403, "second_factor_required"), (
            "which is neither wrong nor a fresh start"
        )
    assert outcome(await bob.step_up(code=bob.code(9))) == (401, "unauthenticated")
    assert (await bob.call("GET", "me")).status_code == 401


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "me/password", {"current_password": "wrong", "new_password": "eleven blue bicycles"}),
        ("POST", "me/email", {"email": "elsewhere@example.com", "password": "wrong"}),
        ("POST", "auth/step-up", {"password": "wrong"}),
    ],
)
async def test_wherever_the_password_is_asked_for_again(ada: Member, method: str, path: str, body: Any) -> None:
    for _ in range(5):
        assert (await ada.call(method, path, body)).status_code == 401
    assert (await ada.call("GET", "me")).status_code == 401
    assert (await ada.refresh()).status_code == 401


async def test_fewer_are_forgiven_by_the_right_one(ada: Member) -> None:
    for _ in range(2):
        for _ in range(4):
            assert outcome(await ada.step_up("not her password")) == (401, "invalid_credentials")
        assert (await ada.step_up()).status_code == 200


async def test_guesses_at_once_are_all_counted(ada: Member, database_urls: DatabaseUrls) -> None:
    answers = await asyncio.gather(*(ada.step_up("not her password") for _ in range(10)))
    assert sum(answer.json()["code"] == "invalid_credentials" for answer in answers) <= 4
    assert outcome(await ada.step_up()) == (401, "unauthenticated")


async def test_a_session_that_has_ended_is_not_made_recent(ada: Member) -> None:
    assert (await ada.logout()).status_code == 204
    assert outcome(await ada.step_up()) == (401, "unauthenticated")


@pytest.mark.parametrize(
    "happened", ["is_active = false", "password_hash = 'changed'"], ids=["suspended", "password changed"]
)
async def test_an_account_that_has_changed_is_not_the_same(
    ada: Member, database_urls: DatabaseUrls, happened: str
) -> None:
    await change(database_urls, f"UPDATE users SET {happened}")
    assert (await ada.step_up()).status_code == 401


async def test_a_stranger_has_nothing_to_step_up(ada: Member) -> None:
    ada.access_token = "garbage"
    assert outcome(await ada.step_up()) == (401, "unauthenticated")


async def test_two_proofs_are_one_too_many(bob: Member) -> None:
    both = {"password": PASSWORD, "code": bob.code(), "recovery_code": "K7QW-3F9D-M0XA-81TC"}
    assert outcome(await bob.call("POST", "auth/step-up", both)) == (400, "invalid_input")
