"""That the watch over the run's secrets (tests/conftest.py) sees, and that a run with a leak fails by name."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import structlog

from billing_api.access.permissions import Principal
from billing_api.access.tokens import TokenIssuer
from billing_api.identity.credentials.password_hashing import Passwords
from core.clock import utc_now
from core.crypto.sealing import KeyedHash, Sealer
from core.ids import new_id
from core.settings import process_environment
from core.telemetry import PROCESSORS, logger
from db.models.identity import Role
from tests.support.secrecy import Watch
from tests.support.secrets_in_use import learn_settings, look_at, noticed, stack
from tests.support.servers import ROOT

WORD: Final = "seven-green-bicycles"
KEY: Final = bytes(range(100, 132))


@pytest.fixture
def watch() -> Watch:
    """A watch of this test's own: what it plants is not for the run's."""
    return Watch()


def kinds(watch: Watch) -> list[str]:
    return [leak.kind for leak in watch.leaks()]


def test_a_planted_secret_is_found_with_its_kind_its_place_and_its_test(watch: Watch) -> None:
    watch.test = "tests/test_a.py::test_one"
    watch.hear("a log", f'{{"event":"signed in with {WORD} at noon"}}')  # before anybody knows that it is one
    watch.test = "tests/test_a.py::test_two"
    watch.learn("password", WORD)
    watch.hear("a log", f"again {WORD}")
    watch.hear("another log", "nothing to be seen")
    (leak,) = watch.leaks()
    assert (leak.kind, leak.where, leak.test) == ("password", "a log", "tests/test_a.py::test_one")
    assert WORD not in str(leak)
    assert "signed in with <password> at noon" in str(leak)


@pytest.mark.parametrize("secret", ['quoted "word" of mine', "motörhead is loud", "a+b/c=d+e/f=", "back\\slashed word"])
def test_a_secret_is_found_as_json_and_addresses_spell_it(watch: Watch, secret: str) -> None:
    watch.learn("password", secret)
    watch.hear("a log", json.dumps({"said": f"so {secret}."}))
    watch.hear("an address", str(httpx.URL("https://x.test/", params={"token": secret})).replace("%20", "+"))
    watch.hear("another", f"https://x.test/?token={httpx.QueryParams({'a': secret})['a']}")
    assert "a log" in {leak.where for leak in watch.leaks()}
    assert "another" in {leak.where for leak in watch.leaks()}


@pytest.mark.parametrize("nobodys", ["short", "NP-0000-0000-0000", "a" * 40, "", None, 5, []])
def test_what_could_stand_anywhere_is_no_secret(watch: Watch, nobodys: Any) -> None:
    watch.learn("password", nobodys)
    watch.hear("a log", f"it said {nobodys}")
    assert watch.leaks() == []


def test_a_log_is_followed_line_by_line_and_test_by_test(watch: Watch, tmp_path: Path) -> None:
    log = tmp_path / "log"
    watch.learn("password", WORD)
    with watch.following(log):
        log.write_text("first\nunfinished seven-")
        watch.test = "one"
        watch.catch_up()
        with log.open("a") as out:
            out.write("green-bicycles\n")
        watch.test = "two"
    with log.open("a") as out:
        out.write(f"{WORD} too late\n")
    watch.catch_up()
    (leak,) = watch.leaks()
    assert (leak.test, leak.around) == ("two", "…unfinished <password>…")


def test_a_log_that_begins_anew_is_read_from_its_beginning(watch: Watch, tmp_path: Path) -> None:
    log = tmp_path / "log"
    watch.learn("password", WORD)
    with watch.following(log):
        log.write_text("a long line of the process before\n" * 10)
        watch.catch_up()
        log.write_text(f"and now {WORD}\n")
    assert kinds(watch) == ["password"]


def test_a_stack_s_keyring_is_secret_in_each_part_s_log(watch: Watch, tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    with stack(tmp_path, watch):
        keyring = {
            "kek": "k1:ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1+f4CBgoM=",
            "api_password": WORD,
            "platform_key_id": "npk_0123456789",
        }
        (tmp_path / "secrets.json").write_text(json.dumps(keyring))
        (tmp_path / "log" / "api.log").write_text(f"postgresql://np_api:{WORD}@x/y npk_0123456789\n")
        (tmp_path / "log" / "workers.log").write_text(f"{KEY.hex()}\n")
    assert kinds(watch) == ["NP_KEK key", "the stack's api_password"]


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("NP_KEK", "k2:ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1+f4CBgoM=", KEY.hex()),
        (
            "NP_INDEX_KEY",
            "ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1+f4CBgoM=",
            "ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1+f4CBgoM=",
        ),
        ("NP_AUDIT_KEYS", "a1:AAAA,a2:ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1+f4CBgoM=", KEY.hex()),
        ("STRIPE_WEBHOOK_SECRETS", "whsec_first0123,whsec_second0123", "whsec_second0123"),
        ("NP_DEMO_PLATFORM_KEY", f"npk_1:{WORD}", WORD),
    ],
)
def test_settings_are_secret_in_each_form(watch: Watch, name: str, value: str, told: str) -> None:
    learn_settings({name: value}, watch)
    watch.hear("a log", f"key {told}")
    assert len(watch.leaks()) == 1


async def test_whatever_is_sealed_hashed_or_signed_is_noticed(watch: Watch) -> None:
    passwords, hashing = Passwords(threads=1), KeyedHash(KEY)
    with noticed(watch):
        Sealer({"k1": KEY}).seal(b"the sealed secret", context="something.new:5")
        Sealer({"k1": KEY}).seal(b"ada@example.com", context="outbox.mail_reset_link")
        hashing.digest("something_new", "the hashed secret")
        hashing.digest("guess_account", "ada@example.com")
        token = TokenIssuer({"j1": KEY}, utc_now).issue(Principal(new_id(), Role.CUSTOMER, new_id(), utc_now()))
        password_hash = await passwords.hash("the hashed password")
        assert not await passwords.verify("the tried password", password_hash)
    passwords.close()
    spoken = (
        "the sealed secret",
        "the hashed secret",
        token,
        password_hash,
        "the hashed password",
        "the tried password",
    )
    for number, secret in enumerate(spoken):
        watch.hear(f"log {number}", secret)
    watch.hear("a log", "ada@example.com")
    assert [leak.where for leak in sorted(watch.leaks(), key=lambda leak: leak.where)] == [f"log {n}" for n in range(6)]


def refused(body: str, **request: Any) -> tuple[httpx.Request, httpx.Response]:
    asked = httpx.Request("POST", "http://x.test/api/v1/auth/login", **request)
    headers = {"content-type": "application/problem+json", "set-cookie": "np_refresh=fresh-refresh-token; Path=/"}
    return asked, httpx.Response(401, text=body, headers=headers, request=asked)


@pytest.mark.parametrize(
    "request_",
    [
        {"json": {"order": [{"new_password": WORD}]}},
        {"data": {"client_secret": WORD}},
        {"headers": {"Authorization": f"Bearer {WORD}"}},
        {"params": {"token": WORD}},
    ],
)
def test_a_refusal_that_quotes_what_was_sent_is_found(watch: Watch, request_: dict[str, Any]) -> None:
    look_at(*refused(f'{{"detail":"not {WORD}"}}', **request_), watch)
    (leak,) = watch.leaks()
    assert leak.where == "the body of 401 to POST /api/v1/auth/login"


def test_what_an_answer_gives_is_secret_afterwards(watch: Watch) -> None:
    look_at(*refused("{}"), watch)
    watch.hear("a log", "it is fresh-refresh-token")
    assert kinds(watch) == ["refresh token"]


def test_every_client_of_httpx_is_looked_at(watch: Watch) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(
            400, json={"detail": f"{request.url.path} {WORD}"}, headers={"content-type": "application/problem+json"}
        )

    async def ask() -> None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
            await client.post("http://x.test/two", json={"password": WORD})

    with noticed(watch), httpx.Client(transport=httpx.MockTransport(answer)) as client:
        client.post("http://x.test/one", json={"password": WORD})
        asyncio.run(ask())
    told = {leak.where for leak in watch.leaks()}
    assert told == {"the body of 400 to POST /one", "the body of 400 to POST /two"}


def test_events_are_heard_as_production_writes_them(watch: Watch) -> None:
    watch.learn("password", WORD)
    structlog.configure(processors=[*PROCESSORS, watch.hear_line])
    logger().info("it.happened", password=WORD)
    assert watch.leaks() == []
    logger().info("it.happened", note=f"the word is {WORD}")
    assert kinds(watch) == ["password"]


LEAKY: Final = """
import structlog
from tests.support.secrecy import WATCH

def test_that_leaks():
    WATCH.learn("password", "seven-green-bicycles")
    structlog.get_logger().info("it.happened", note="the word is seven-green-bicycles")

def test_that_comes_after():
    pass
"""


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["alone", "xdist"])
def test_a_run_with_a_leak_fails_and_says_where(tmp_path: Path, workers: tuple[str, ...]) -> None:
    file = tmp_path / "test_leaky.py"
    file.write_text(LEAKY)
    quick = ("-m", "quick")  # the run starts no PostgreSQL for tests that ask for none
    argv = (sys.executable, "-m", "pytest", "-q", "-c", str(ROOT / "pyproject.toml"), "-p", "tests.conftest", *quick)
    env = {name: value for name, value in process_environment().items() if not name.startswith("PYTEST_")}
    done = subprocess.run((*argv, *workers, str(file)), cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "secrets were written where others read" in done.stdout
    assert "password in an application's log" in done.stdout
    assert "seen after ::test_that_leaks" in done.stdout.replace(file.name, "").replace(f"{tmp_path}/", "")
    assert "2 passed, 1 error" in done.stdout
