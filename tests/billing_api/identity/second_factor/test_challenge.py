"""Sign-in challenge: what it is valid for, for how long, and how few tries it allows."""

import asyncio
from datetime import timedelta

import pytest
from litestar import Litestar
from sqlalchemy import text

from billing_api.access.tokens import TokenIssuer
from core.settings import ApiSettings
from tests.billing_api.conftest import FakeTime
from tests.support.databases import as_owner, change, rows, until_blocked
from tests.support.members import Member, another_browser
from tests.support.servers import DatabaseUrls

WITH_FACTOR = 'SELECT 1 FROM sessions WHERE amr = \'["pwd", "otp"]\''


def wrong(member: Member) -> str:
    return member.code(9)


async def test_the_password_alone_gets_a_challenge_and_no_session(phone: Member, database_urls: DatabaseUrls) -> None:
    before = await rows(database_urls, "SELECT count(*) FROM sessions")
    asked = await phone.login()
    assert (asked.status_code, asked.headers["cache-control"]) == (200, "no-store")
    assert asked.json().keys() == {"mfa_required", "challenge", "expires_in"}
    assert asked.json()["expires_in"] == 300
    assert "set-cookie" not in asked.headers
    assert await rows(database_urls, "SELECT count(*) FROM sessions") == before


async def test_challenge_and_code_make_a_session_that_says_so(
    phone: Member, settings: ApiSettings, database_urls: DatabaseUrls, clock: FakeTime
) -> None:
    phone.web.headers["User-Agent"] = "Telephone/1.0"
    granted = await phone.answer(await phone.challenge(), code=phone.code())
    assert (granted.status_code, granted.headers["cache-control"]) == (200, "no-store")
    assert granted.json().keys() == {"access_token", "token_type", "expires_in"}
    assert phone.cookie is not None
    tokens = TokenIssuer(settings.jwt_keys, clock)
    assert tokens.read(granted.json()["access_token"]).amr == ("pwd", "otp")
    refreshed = await phone.refresh()
    assert tokens.read(refreshed.json()["access_token"]).amr == ("pwd", "otp")
    (session,) = await rows(database_urls, "SELECT user_agent FROM sessions ORDER BY created_at DESC LIMIT 1")
    assert session == {"user_agent": "Telephone/1.0"}


async def test_a_challenge_is_no_token_of_any_other_kind(phone: Member) -> None:
    challenge = await phone.challenge()
    assert (await phone.me(challenge)).status_code == 401
    phone.cookie = challenge
    assert (await phone.refresh()).status_code == 401
    assert (await phone.verify(challenge)).status_code == 400


async def test_a_challenge_works_once(app: Litestar, phone: Member, clock: FakeTime) -> None:
    challenge = await phone.challenge()
    assert (await phone.answer(challenge, code=phone.code())).status_code == 200
    clock.now += timedelta(minutes=1)
    again = await phone.answer(challenge, code=phone.code())
    assert (again.status_code, again.json()["code"]) == (401, "challenge_over")


async def test_of_twenty_at_once_with_one_challenge_one_is_let_in(phone: Member, database_urls: DatabaseUrls) -> None:
    challenge, code = await phone.challenge(), phone.code()
    answers = await asyncio.gather(*(phone.answer(challenge, code=code) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 19
    assert len(await rows(database_urls, WITH_FACTOR)) == 2, "beside the session that set it up"


async def test_of_five_at_once_with_one_code_one_is_let_in(phone: Member, database_urls: DatabaseUrls) -> None:
    challenges = [await phone.challenge() for _ in range(5)]
    code = phone.code()
    answers = await asyncio.gather(*(phone.answer(challenge, code=code) for challenge in challenges))
    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 4
    assert len(await rows(database_urls, WITH_FACTOR)) == 2, "beside the session that set it up"


async def test_a_code_that_was_used_opens_nothing_more(phone: Member, clock: FakeTime) -> None:
    code, older = phone.code(), phone.code(-1)
    assert (await phone.answer(await phone.challenge(), code=code)).status_code == 200
    for replayed in (code, older):
        answer = await phone.answer(await phone.challenge(), code=replayed)
        assert (answer.status_code, answer.json()["code"]) == (401, "invalid_second_factor")
    clock.now += timedelta(seconds=30)
    assert (await phone.answer(await phone.challenge(), code=phone.code())).status_code == 200


async def test_a_challenge_lasts_five_minutes(phone: Member, clock: FakeTime) -> None:
    in_time, late = await phone.challenge(), await phone.challenge()
    clock.now += timedelta(minutes=5) - timedelta(seconds=1)
    assert (await phone.answer(in_time, code=phone.code())).status_code == 200
    clock.now += timedelta(seconds=1)
    answer = await phone.answer(late, code=phone.code(1))
    assert (answer.status_code, answer.json()["code"]) == (401, "challenge_over")


async def test_a_challenge_takes_five_tries(phone: Member, database_urls: DatabaseUrls) -> None:
    """Wrong recovery codes never block an account, so they show the challenge's own limit."""
    challenge = await phone.challenge()
    for _ in range(5):
        answer = await phone.answer(challenge, recovery_code="0000-0000-0000-0000")
        assert (answer.status_code, answer.json()["code"]) == (401, "invalid_second_factor")
    over = await phone.answer(challenge, code=phone.code())
    assert (over.status_code, over.json()["code"]) == (401, "challenge_over")
    assert (await rows(database_urls, "SELECT tries FROM sign_in_challenges"))[0]["tries"] == 5


async def test_new_sign_ins_buy_no_more_tries(phone: Member, enrolled: Member, clock: FakeTime) -> None:
    for _ in range(4):
        assert (await phone.answer(await phone.challenge(), code=wrong(phone))).status_code == 401
    fifth = await phone.answer(await phone.challenge(), code=wrong(phone))
    assert (fifth.status_code, fifth.json()["code"], fifth.headers["retry-after"]) == (429, "too_many_requests", "901")
    challenge = await phone.challenge()
    assert (await phone.answer(challenge, code=phone.code())).status_code == 429, "not even the right one"
    assert (await enrolled.step_up(code=enrolled.code())).status_code == 429, "nor elsewhere"
    clock.now += timedelta(minutes=15)
    assert (await phone.answer(await phone.challenge(), code=phone.code())).status_code == 200


async def test_thirty_guesses_at_once_are_five(phone: Member, database_urls: DatabaseUrls) -> None:
    challenges = [await phone.challenge() for _ in range(5)]
    guesses = [phone.answer(challenge, code=wrong(phone)) for challenge in challenges for _ in range(6)]
    answers = await asyncio.gather(*guesses)
    assert all(answer.status_code in {401, 429} for answer in answers)
    assert await rows(database_urls, "SELECT failures FROM totp_factors") == [{"failures": 5}]
    blocked = await rows(database_urls, "SELECT detail FROM audit_log WHERE action = 'second_factor.blocked'")
    assert blocked == [{"detail": {"failures": 5}}]


async def test_success_forgives_what_went_before(phone: Member, clock: FakeTime) -> None:
    for _ in range(3):
        for _ in range(4):
            assert (await phone.answer(await phone.challenge(), code=wrong(phone))).status_code == 401
        assert (await phone.answer(await phone.challenge(), code=phone.code())).status_code == 200
        clock.now += timedelta(minutes=1)


async def test_a_recovery_code_opens_once_even_where_the_app_is_kept_out(
    app: Litestar, ada: Member, database_urls: DatabaseUrls
) -> None:
    """An attacker who knows the password can block the app for a while, but not the owner's recovery codes."""
    first, second, *_ = await ada.enroll()
    for _ in range(5):
        await ada.answer(await ada.challenge(), code=wrong(ada))
    assert (await ada.answer(await ada.challenge(), code=ada.code(1))).status_code == 429
    assert (await ada.answer(await ada.challenge(), recovery_code=first.lower())).status_code == 200
    again = await ada.answer(await ada.challenge(), recovery_code=first)
    assert (again.status_code, again.json()["code"]) == (401, "invalid_second_factor")
    assert (await ada.answer(await ada.challenge(), code=ada.code(1))).status_code == 200, "and the app opens again"
    challenges = [await ada.challenge() for _ in range(5)]
    answers = await asyncio.gather(*(ada.answer(each, recovery_code=second) for each in challenges))
    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 4
    used = await rows(
        database_urls, "SELECT detail FROM audit_log WHERE action = 'second_factor.recovery_code_used' ORDER BY id"
    )
    assert used == [{"detail": {"left": 9}}, {"detail": {"left": 8}}]


async def test_anothers_codes_open_nothing(ada: Member, bob: Member, clock: FakeTime) -> None:
    (code, *_) = await ada.enroll()
    clock.now += timedelta(minutes=1)
    for proof in ({"recovery_code": code}, {"code": ada.code()}):
        assert (await bob.answer(await bob.challenge(), **proof)).json()["code"] == "invalid_second_factor"


@pytest.mark.parametrize("meanwhile", ["is_active = false", "password_hash = 'changed'"])
async def test_a_challenge_ends_with_its_password_and_with_the_account(
    phone: Member, database_urls: DatabaseUrls, meanwhile: str
) -> None:
    challenge = await phone.challenge()
    await change(database_urls, f"UPDATE users SET {meanwhile}")
    answer = await phone.answer(challenge, code=phone.code())
    assert (answer.status_code, answer.json()["code"]) == (401, "challenge_over")


@pytest.mark.parametrize("meanwhile", ["is_active = false", "password_hash = 'changed'"])
async def test_the_second_step_does_not_slip_past_what_happens_meanwhile(
    phone: Member, database_urls: DatabaseUrls, meanwhile: str
) -> None:
    challenge = await phone.challenge()
    async with as_owner(database_urls) as owner:
        await owner.execute(text("SELECT 1 FROM users FOR UPDATE"))
        answering = asyncio.create_task(phone.answer(challenge, code=phone.code()))
        await until_blocked(database_urls)
        await owner.execute(text(f"UPDATE users SET {meanwhile}"))
    assert (await answering).json()["code"] == "challenge_over"


async def test_a_factor_that_was_removed_meanwhile_proves_nothing(phone: Member, enrolled: Member) -> None:
    challenge = await phone.challenge()
    assert (await enrolled.call("DELETE", "me/mfa/totp")).status_code == 204
    assert (await phone.answer(challenge, code=phone.code())).json()["code"] == "invalid_second_factor"


async def test_a_wrong_password_hears_of_no_factor(app: Litestar, enrolled: Member, ada: Member) -> None:
    async with another_browser(app, ada) as stranger:
        refused = await stranger.login("not her password")
    assert (refused.status_code, refused.json()["code"]) == (401, "invalid_credentials")


async def test_challenges_that_are_over_do_not_pile_up(
    phone: Member, database_urls: DatabaseUrls, clock: FakeTime
) -> None:
    for _ in range(3):
        await phone.challenge()
    clock.now += timedelta(minutes=5)
    last = await phone.challenge()
    assert len(await rows(database_urls, "SELECT 1 FROM sign_in_challenges")) == 1
    assert last.encode() not in (await rows(database_urls, "SELECT token_hash FROM sign_in_challenges"))[0].values()


@pytest.mark.parametrize("body", [{}, {"code": "123456", "recovery_code": "K7QW-3F9D-M0XA-81TC"}])
async def test_one_proof_is_given_and_not_two(phone: Member, body: dict[str, str]) -> None:
    challenge = await phone.challenge()
    for _ in range(6):
        assert (await phone.answer(challenge, **body)).status_code == 400
    assert (await phone.answer(challenge, code=phone.code())).status_code == 200, "what is no try is not counted"


async def test_another_sites_page_cannot_take_the_second_step(phone: Member) -> None:
    body = {"challenge": await phone.challenge(), "code": phone.code()}
    refused = await phone.post("mfa", body, Origin="https://evil.example")
    assert refused.status_code == 403
    assert (await phone.post("mfa", body)).status_code == 200


@pytest.mark.parametrize("challenge", ["x", "' OR 1=1 --", "\x00", "a" * 200])
async def test_what_is_no_challenge_is_over(phone: Member, challenge: str) -> None:
    assert (await phone.answer(challenge, code=phone.code())).json()["code"] == "challenge_over"
