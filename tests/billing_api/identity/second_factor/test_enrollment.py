"""Enrollment of an authenticator app: what is shown once, when it counts, and what a second call does."""

import asyncio
from datetime import timedelta

import pytest
from litestar import Litestar

from billing_api.identity.second_factor import totp
from core.settings import ApiSettings
from tests.billing_api.conftest import FakeTime
from tests.support.databases import change, rows
from tests.support.members import Member, another_browser
from tests.support.servers import DatabaseUrls

NOBODYS_CODE = "000000"


async def audited(urls: DatabaseUrls) -> list[str]:
    found = await rows(urls, "SELECT action FROM audit_log WHERE action LIKE 'second_factor.%' ORDER BY id")
    return [row["action"] for row in found]


async def test_an_app_is_shown_its_secret_and_counts_once_confirmed(ada: Member, database_urls: DatabaseUrls) -> None:
    begun = await ada.call("POST", "me/mfa/totp")
    assert (begun.status_code, begun.headers["cache-control"]) == (201, "no-store")
    body = begun.json()
    assert body.keys() == {"otpauth_uri", "secret", "qr_svg", "expires_at"}
    assert body["qr_svg"] == totp.qr_svg(body["otpauth_uri"])
    assert body["otpauth_uri"] == totp.enrollment_uri(body["secret"], account=ada.email)
    assert (await ada.call("GET", "me/mfa")).json()["totp"]["active"] is False
    assert "access_token" in (await ada.login()).json(), "what is not confirmed keeps nobody out"

    ada.secret = body["secret"]
    confirmed = await ada.call("POST", "me/mfa/totp/confirm", {"code": ada.code()})
    assert (confirmed.status_code, confirmed.headers["cache-control"]) == (200, "no-store")
    assert len(set(confirmed.json()["recovery_codes"])) == 10
    state = (await ada.call("GET", "me/mfa")).json()
    assert (state["totp"]["active"], state["recovery_codes_left"]) == (True, 10)
    assert (await ada.login()).json().keys() == {"mfa_required", "challenge", "expires_in"}
    assert await audited(database_urls) == ["second_factor.enabled"]


async def test_neither_the_secret_nor_a_code_lies_in_the_database(
    ada: Member, database_urls: DatabaseUrls, settings: ApiSettings
) -> None:
    codes = await ada.enroll()
    (factor,) = await rows(database_urls, "SELECT * FROM totp_factors")
    sealed = factor["secret"]
    assert ada.secret.encode() not in sealed
    assert totp.opened_secret(settings.secrets.sealer, sealed, user_id=factor["user_id"]) == ada.secret
    kept = await rows(database_urls, "SELECT * FROM recovery_codes")
    assert len(kept) == 10
    for code in codes:
        assert code not in str(kept)
        assert code.replace("-", "") not in str(kept)


async def test_a_wrong_code_confirms_nothing_and_tries_are_few(ada: Member, clock: FakeTime) -> None:
    ada.secret = (await ada.call("POST", "me/mfa/totp")).json()["secret"]
    for _ in range(4):
        wrong = await ada.call("POST", "me/mfa/totp/confirm", {"code": ada.code(9)})
        assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (400, "code")
    closed = await ada.call("POST", "me/mfa/totp/confirm", {"code": ada.code(9)})
    assert (closed.status_code, int(closed.headers["retry-after"])) == (429, 901)
    assert (await ada.call("POST", "me/mfa/totp/confirm", {"code": ada.code()})).status_code == 429
    assert (await ada.call("GET", "me/mfa")).json()["totp"]["active"] is False


async def test_without_a_beginning_there_is_nothing_to_confirm(ada: Member, clock: FakeTime) -> None:
    assert (await ada.call("POST", "me/mfa/totp/confirm", {"code": NOBODYS_CODE})).status_code == 409
    ada.secret = (await ada.call("POST", "me/mfa/totp")).json()["secret"]
    clock.now += timedelta(minutes=15)
    await ada.sign_in()
    late = await ada.call("POST", "me/mfa/totp/confirm", {"code": ada.code()})
    assert (late.status_code, late.json()["code"]) == (409, "conflict")


async def test_begun_again_the_first_app_is_forgotten(ada: Member) -> None:
    first = (await ada.call("POST", "me/mfa/totp")).json()["secret"]
    second = (await ada.call("POST", "me/mfa/totp")).json()["secret"]
    ada.secret = first
    assert (await ada.call("POST", "me/mfa/totp/confirm", {"code": ada.code()})).status_code == 400
    ada.secret = second
    assert (await ada.call("POST", "me/mfa/totp/confirm", {"code": ada.code()})).status_code == 200


async def test_of_two_confirmations_at_once_one_shows_codes(ada: Member, database_urls: DatabaseUrls) -> None:
    ada.secret = (await ada.call("POST", "me/mfa/totp")).json()["secret"]
    body = {"code": ada.code()}
    answers = await asyncio.gather(*(ada.call("POST", "me/mfa/totp/confirm", body) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409, 409]
    assert len(await rows(database_urls, "SELECT 1 FROM recovery_codes")) == 10


async def test_an_active_app_is_not_replaced_by_beginning_another(enrolled: Member) -> None:
    refused = await enrolled.call("POST", "me/mfa/totp")
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert (await enrolled.step_up(code=enrolled.code())).status_code == 200


async def test_removed_it_is_asked_for_no_more(enrolled: Member, database_urls: DatabaseUrls) -> None:
    assert (await enrolled.call("DELETE", "me/mfa/totp")).status_code == 204
    assert await rows(database_urls, "SELECT 1 FROM totp_factors") == []
    assert await rows(database_urls, "SELECT 1 FROM recovery_codes") == []
    assert "access_token" in (await enrolled.login()).json()
    assert (await enrolled.call("DELETE", "me/mfa/totp")).status_code == 404
    assert await audited(database_urls) == ["second_factor.enabled", "second_factor.disabled"]


async def test_a_new_set_of_recovery_codes_ends_the_old_one(ada: Member, clock: FakeTime) -> None:
    old = await ada.enroll()
    clock.now += timedelta(minutes=1)
    renewed = await ada.call("POST", "me/mfa/recovery-codes")
    assert (renewed.status_code, renewed.headers["cache-control"]) == (201, "no-store")
    new = renewed.json()["recovery_codes"]
    assert set(old).isdisjoint(new)
    assert (await ada.step_up(recovery_code=old[0])).json()["code"] == "invalid_second_factor"
    assert (await ada.step_up(recovery_code=new[0])).status_code == 200
    assert (await ada.call("GET", "me/mfa")).json()["recovery_codes_left"] == 9


async def test_the_owner_is_told_of_every_change(ada: Member, database_urls: DatabaseUrls, clock: FakeTime) -> None:
    await ada.enroll()
    clock.now += timedelta(minutes=1)
    codes = (await ada.call("POST", "me/mfa/recovery-codes")).json()["recovery_codes"]
    assert (await ada.step_up(recovery_code=codes[0])).status_code == 200
    assert (await ada.step_up(recovery_code=codes[0])).status_code == 401  # nobody is told of what did not work
    assert (await ada.call("DELETE", "me/mfa/totp")).status_code == 204
    told = await rows(
        database_urls,
        "SELECT template, parameters - 'full_name' AS said FROM mails WHERE recipient = :email ORDER BY created_at, id",
        email=ada.email,
    )
    assert [(mail["template"], mail["said"]) for mail in told] == [
        ("second_factor_changed", {"change": "enabled"}),
        ("second_factor_changed", {"change": "codes_renewed"}),
        ("recovery_code_used", {"left": "9"}),
        ("second_factor_changed", {"change": "removed"}),
    ]


async def test_recovery_codes_need_an_app_to_stand_in_for(ada: Member) -> None:
    refused = await ada.call("POST", "me/mfa/recovery-codes")
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")


async def test_everybody_has_a_factor_of_his_own(enrolled: Member, bob: Member) -> None:
    state = (await bob.call("GET", "me/mfa")).json()
    assert await bob.call("DELETE", "me/mfa/totp")
    assert state["totp"]["active"] is True
    assert (await enrolled.call("GET", "me/mfa")).json()["totp"]["active"] is True


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "me/mfa/totp"), ("DELETE", "me/mfa/totp"), ("POST", "me/mfa/recovery-codes")]
)
async def test_a_forgotten_browser_changes_no_factor(enrolled: Member, clock: FakeTime, method: str, path: str) -> None:
    clock.now += timedelta(minutes=6)
    late = await enrolled.call(method, path)
    assert (late.status_code, late.json()["code"]) == (403, "step_up_required")


@pytest.mark.parametrize("code", ["12345", "1234567", "123 45", "abcdef", "123456\n", "", None, 123456])
async def test_a_code_is_six_digits(ada: Member, code: object) -> None:
    refused = await ada.call("POST", "me/mfa/totp/confirm", {"code": code})
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_input")


async def test_a_suspended_account_sets_up_nothing(ada: Member, database_urls: DatabaseUrls) -> None:
    await change(database_urls, "UPDATE users SET is_active = false")
    assert (await ada.call("POST", "me/mfa/totp")).status_code == 401


async def test_confirming_uses_the_code_up(app: Litestar, ada: Member) -> None:
    await ada.enroll()
    async with another_browser(app, ada) as phone:
        replayed = await phone.answer(await phone.challenge(), code=phone.code())
    assert (replayed.status_code, replayed.json()["code"]) == (401, "invalid_second_factor")
