"""Login throttling: guessing ends soon for the guesser, and for no other client."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from http.cookies import SimpleCookie
from typing import Any

import httpx
import pytest
from sqlalchemy import event

from billing_api.access.caller import Caller
from billing_api.identity.credentials.password_check import PasswordCheck
from billing_api.identity.credentials.password_hashing import Passwords
from billing_api.identity.login_throttle.device import Devices
from billing_api.identity.login_throttle.rules import Guesser, GuesserKind
from billing_api.identity.login_throttle.service import Guess, GuessCounter, Wait
from billing_api.server.wiring.infrastructure import Infrastructure
from core.errors import InvalidCredentials, Unavailable
from core.settings import ApiSettings
from db.unit_of_work import Database
from tests.support.databases import change, rows
from tests.support.servers import DatabaseUrls
from tests.support.visitors import PASSWORD, Visitor

Visitors = Callable[..., Visitor]
ELSEWHERE = "198.51.100.66"


@pytest.fixture
def counter(settings: ApiSettings, clock: Any) -> GuessCounter:
    return GuessCounter(settings.secrets.index, clock)


async def guess(attacker: Visitor, times: int) -> list[httpx.Response]:
    return [await attacker.login(f"guess number {number}") for number in range(times)]


async def exhaust_strangers(counter: GuessCounter, database: Database, email: str) -> None:
    """Guesses from many addresses until the count of all strangers is used up."""
    counted: Guess | Wait
    for number in range(100):
        async with database.as_system() as tx:
            guesser = Guesser(GuesserKind.ADDRESS, f"203.0.113.{number}")
            counted = await counter.count(tx, email, guesser, user_id=None)
        if isinstance(counted, Wait):
            return
    raise AssertionError("strangers may guess for ever")


def comparable(answer: httpx.Response) -> tuple[int, str | None, dict[str, Any]]:
    return answer.status_code, answer.headers.get("retry-after"), answer.json() | {"request_id": ""}


async def test_after_five_wrong_passwords_even_the_right_one_waits(ada: Visitor, clock: Any) -> None:
    assert {answer.status_code for answer in await guess(ada, 5)} == {401}
    refused = await ada.login()
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_requests")
    assert refused.headers["retry-after"] == "60"
    clock.now += timedelta(seconds=59)
    assert (await ada.login()).headers["retry-after"] == "1"
    clock.now += timedelta(seconds=1)
    assert (await ada.login("still wrong, after a minute")).status_code == 401
    assert (await ada.login()).headers["retry-after"] == "120"
    clock.now += timedelta(seconds=120)
    assert (await ada.login()).status_code == 200
    assert {answer.status_code for answer in await guess(ada, 4)} == {401}, "a right one begins anew"


async def test_knocking_while_one_has_to_wait_prolongs_nothing(ada: Visitor, clock: Any) -> None:
    await guess(ada, 5)
    for _ in range(10):
        assert (await ada.login()).status_code == 429
    clock.now += timedelta(seconds=60)
    assert (await ada.login()).status_code == 200


async def test_an_attacker_locks_out_himself_alone(ada: Visitor, visitors: Visitors) -> None:
    attacker = visitors(ada.email, comes_from=ELSEWHERE)
    neighbor = visitors(ada.email.upper(), comes_from=ELSEWHERE)
    assert [answer.status_code for answer in await guess(attacker, 6)] == [401] * 5 + [429]
    assert (await neighbor.login()).status_code == 429, "one account in any case, one network"
    assert (await ada.login()).status_code == 200


async def test_one_subscribers_many_addresses_are_one(ada: Visitor, visitors: Visitors) -> None:
    guesses = [
        await visitors(ada.email, comes_from=f"2001:db8:0:7::{number}").login("a wrong password") for number in range(6)
    ]
    assert [answer.status_code for answer in guesses] == [401] * 5 + [429]
    assert (await visitors(ada.email, comes_from="2001:db8:0:8::1").login()).status_code == 200


async def test_a_known_device_is_let_in_whatever_strangers_do(
    ada: Visitor, visitors: Visitors, counter: GuessCounter, database: Database
) -> None:
    await ada.login()
    await exhaust_strangers(counter, database, ada.email)
    stranger = visitors(ada.email, comes_from="192.0.2.200")
    assert (await stranger.login()).status_code == 429
    assert (await ada.login()).status_code == 200
    ada.web.cookies.delete("np_device")
    assert (await ada.login()).status_code == 429


async def test_a_known_devices_own_guesses_count(ada: Visitor, visitors: Visitors) -> None:
    """Also from another network: a stolen cookie gives five guesses."""
    await ada.login()
    thief = visitors(ada.email, comes_from=ELSEWHERE)
    thief.web.cookies.set("np_device", ada.web.cookies["np_device"], domain="127.0.0.1", path="/api/v1/auth")
    assert [answer.status_code for answer in await guess(thief, 6)] == [401] * 5 + [429]
    assert (await ada.login()).status_code == 429
    ada.web.cookies.delete("np_device")
    assert (await ada.login()).status_code == 200, "her address was not used up by it"


async def test_a_cookie_of_another_account_does_not_count(
    ada: Visitor, visitors: Visitors, counter: GuessCounter, database: Database, database_urls: DatabaseUrls
) -> None:
    eve = visitors()
    await eve.register()
    await change(database_urls, "UPDATE users SET email_verified_at = now()")
    assert (await eve.login()).status_code == 200
    await exhaust_strangers(counter, database, ada.email)
    eve.email = ada.email
    assert (await eve.login()).status_code == 429


@pytest.mark.parametrize("cookie", ["x", "A" * 22 + "." + "A" * 43, "a b", '"', "A" * 5000])
async def test_an_invalid_cookie_opens_nothing_and_breaks_nothing(ada: Visitor, cookie: str) -> None:
    ada.web.cookies.set("np_device", cookie, domain="127.0.0.1", path="/api/v1/auth")
    assert (await ada.login("a wrong password")).status_code == 401
    assert (await ada.login()).status_code == 200


async def test_scripts_cannot_read_the_cookie_and_it_lives_long(ada: Visitor) -> None:
    refused = await ada.login("a wrong password")
    assert "set-cookie" not in refused.headers
    granted = await ada.login()
    cookies = [SimpleCookie(header) for header in granted.headers.get_list("set-cookie")]
    (cookie,) = (found["np_device"] for found in cookies if "np_device" in found)
    assert (cookie["path"], cookie["samesite"], cookie["httponly"]) == ("/api/v1/auth", "strict", True)
    assert cookie["max-age"] == str(365 * 86400)
    assert ada.email not in cookie.value


async def test_nobodys_account_answers_like_somebodys(ada: Visitor, visitors: Visitors) -> None:
    nobody = visitors(comes_from=ELSEWHERE)
    somebody = visitors(ada.email, comes_from=ELSEWHERE)
    answers = [[comparable(answer) for answer in await guess(each, 7)] for each in (nobody, somebody)]
    assert answers[0] == answers[1]
    assert [status for status, _, _ in answers[0]] == [401] * 5 + [429] * 2


async def test_nobodys_account_leaves_the_same_traces(
    ada: Visitor, visitors: Visitors, database_urls: DatabaseUrls
) -> None:
    traces = []
    for email in (ada.email, "nobody@example.com"):
        await guess(visitors(email, comes_from=ELSEWHERE), 7)
        counts = "SELECT guesses, refused_at IS NOT NULL AS refused FROM guess_counts ORDER BY refused"
        audits = "SELECT action, detail->>'guesser' AS guesser FROM audit_log WHERE action = 'sign_in.slowed'"
        traces.append((await rows(database_urls, counts), await rows(database_urls, audits)))
        await change(database_urls, "DELETE FROM guess_counts")
        await change(database_urls, "TRUNCATE audit_log")
    assert traces[0] == traces[1]
    assert traces[0] == (
        [{"guesses": 5, "refused": False}, {"guesses": 5, "refused": True}],
        [{"action": "sign_in.slowed", "guesser": "address"}],
    )


@pytest.mark.parametrize("call", ["login", "password/forgot"])
async def test_somebody_and_nobody_cost_the_same_statements(
    ada: Visitor, visitors: Visitors, infrastructure: Infrastructure, call: str
) -> None:
    """Compares the statements, not the time: equal times may be chance, equal work is not."""
    engine = infrastructure.database.engine.sync_engine
    statements: list[list[str]] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        statements[-1].append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        for number, email in enumerate((ada.email, "nobody@example.com")):
            statements.append([])
            body = {"email": email} | ({"password": "a wrong password"} if call == "login" else {})
            await visitors(comes_from=f"192.0.2.{number}").post(call, body)
    finally:
        event.remove(engine, "before_cursor_execute", note)
    assert statements[0] == statements[1]
    assert len(statements[0]) > 1


async def test_guesses_at_once_do_not_slip_through_the_count(ada: Visitor, visitors: Visitors) -> None:
    attackers = [visitors(ada.email, comes_from=ELSEWHERE) for _ in range(15)]
    passwords = [f"guess number {number}" for number in range(14)] + [PASSWORD]
    answers = await asyncio.gather(
        *(attacker.login(password) for attacker, password in zip(attackers, passwords, strict=True))
    )
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses.count(429) == 10
    assert set(statuses) <= {200, 401, 429}


async def test_right_passwords_at_once_do_not_get_in_each_others_way(
    ada: Visitor, visitors: Visitors, database_urls: DatabaseUrls
) -> None:
    """Counting and taking back lock the same rows, so they must lock them in the same order."""
    networks = [f"192.0.2.{number}" for number in range(4)]
    for _ in range(2):
        crowd = [visitors(ada.email, comes_from=network) for network in networks for _ in range(3)]
        answers = await asyncio.gather(*(one.login() for one in crowd))
        assert {answer.status_code for answer in answers} == {200}
    assert await rows(database_urls, "SELECT guesses FROM guess_counts") == [{"guesses": 0}]


async def test_a_guess_that_finds_no_room_is_not_counted(
    ada: Visitor,
    settings: ApiSettings,
    infrastructure: Infrastructure,
    counter: GuessCounter,
    database: Database,
    database_urls: DatabaseUrls,
) -> None:
    """A refused hash is no guess. Otherwise a flood of sign-ins would use up the guesses of all users."""
    passwords = Passwords(threads=1, waiting_per_thread=0)
    check = PasswordCheck(
        database,
        liveness=infrastructure.liveness,
        passwords=passwords,
        counter=counter,
        devices=Devices(settings.secrets.index),
    )
    here = Caller(address="192.0.2.1")
    try:
        with passwords.slot():
            for _ in range(6):
                with pytest.raises(Unavailable):
                    await check.by_email(ada.email, PASSWORD, here)
        assert await rows(database_urls, "SELECT 1 FROM guess_counts") == []
        with pytest.raises(InvalidCredentials):
            await check.by_email(ada.email, "a wrong password", here)
        assert [row["guesses"] for row in await rows(database_urls, "SELECT guesses FROM guess_counts")] == [1, 1]
    finally:
        passwords.close()


async def test_a_right_password_is_taken_back_whatever_it_is_worth(
    visitor: Visitor, database_urls: DatabaseUrls
) -> None:
    await visitor.register()
    for _ in range(7):
        assert (await visitor.login()).json()["code"] == "email_not_verified"
    assert await rows(database_urls, "SELECT guesses FROM guess_counts") == [{"guesses": 0}]


async def test_a_lock_out_is_on_record_once_for_each_wait(
    ada: Visitor, database_urls: DatabaseUrls, clock: Any
) -> None:
    await guess(ada, 8)
    clock.now += timedelta(seconds=60)
    await guess(ada, 3)
    audits = await rows(database_urls, "SELECT actor_id, target_kind, detail FROM audit_log ORDER BY id")
    (user,) = await rows(database_urls, "SELECT id FROM users")
    assert [(audit["detail"]["guesses"], audit["detail"]["user_id"]) for audit in audits] == [
        (5, str(user["id"])),
        (6, str(user["id"])),
    ]
    assert {audit["target_kind"] for audit in audits} == {"sign_in"}


async def test_neither_addresses_nor_networks_are_kept_in_the_clear(
    ada: Visitor, visitors: Visitors, database_urls: DatabaseUrls
) -> None:
    await guess(visitors(ada.email, comes_from=ELSEWHERE), 6)
    kept = "SELECT c::text || encode(account || guesser, 'escape') AS t FROM guess_counts c"
    everything = await rows(database_urls, f"{kept} UNION ALL SELECT detail::text FROM audit_log")
    assert len(everything) == 3
    assert not any(secret in row["t"] for row in everything for secret in (ada.email, ELSEWHERE))
