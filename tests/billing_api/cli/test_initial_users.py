"""The first administrator and the demo people: made once, left alone afterwards."""

import asyncio
import io
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import pytest

from billing_api.cli.initial_users import (
    ask_password,
    create_admin,
    ensure_demo_people,
    promote_to_admin,
)
from billing_api.identity.credentials.password_hashing import Passwords
from billing_api.licensing.api_keys.issuing import SECRET_CONTEXT
from core.clock import Clock
from core.errors import Conflict, Forbidden, InvalidInput, NotFound
from core.settings import ApiSettings, DemoSettings, process_environment
from db.models.identity import Role
from db.unit_of_work import Database
from tests.support.databases import rows
from tests.support.people import Desk
from tests.support.servers import ROOT, DatabaseUrls

PASSWORD: Final = "seven green bicycles"
DEMO: Final = DemoSettings(
    admin=("admin@devstack.test", "demo-admin"),
    customer=("customer@devstack.test", "demo-customer"),
    platform_key=("npk_devstack", "the platform's secret"),
)
EVERYTHING: Final = (
    "SELECT to_jsonb(u)::text AS row FROM users u UNION ALL SELECT to_jsonb(k)::text FROM api_keys k"
    " UNION ALL SELECT to_jsonb(o)::text FROM outbox o UNION ALL SELECT to_jsonb(a)::text FROM audit_log a ORDER BY 1"
)


@pytest.fixture(scope="module")
def passwords() -> Iterator[Passwords]:
    made = Passwords(threads=2)
    yield made
    made.close()


async def make(database: Database, passwords: Passwords, clock: Clock, **changes: str) -> None:
    facts = {"email": "root@example.com", "password": PASSWORD, "full_name": "Root"} | changes
    await create_admin(database, passwords, clock, **facts)


async def seed(
    database: Database, passwords: Passwords, settings: ApiSettings, clock: Clock, demo: DemoSettings = DEMO
) -> None:
    await ensure_demo_people(database, passwords, settings.secrets, clock, demo=demo, environment=settings.environment)


async def test_the_first_administrator_can_sign_in_and_is_on_record(
    database: Database, passwords: Passwords, clock: Clock, database_urls: DatabaseUrls
) -> None:
    await make(database, passwords, clock)
    (user,) = await rows(database_urls, "SELECT * FROM users")
    assert (user["email"], user["role"], user["is_active"]) == ("root@example.com", "admin", True)
    assert user["email_verified_at"] is not None
    assert await passwords.verify(PASSWORD, user["password_hash"])
    (audit,) = await rows(database_urls, "SELECT action, target_id, detail FROM audit_log")
    assert audit == {
        "action": "user.created",
        "target_id": str(user["id"]),
        "detail": {"role": "admin", "by": "command line"},
    }


async def test_an_existing_user_is_not_made_an_administrator_by_accident(
    database: Database, passwords: Passwords, clock: Clock, desk: Desk, database_urls: DatabaseUrls
) -> None:
    await desk.a_user(email="Root@example.com")
    with pytest.raises(Conflict, match="--promote"):
        await make(database, passwords, clock)
    (user,) = await rows(database_urls, "SELECT role, password_hash FROM users")
    assert user == {"role": "customer", "password_hash": "unused"}
    assert await rows(database_urls, "SELECT id FROM audit_log") == []


@pytest.mark.parametrize("changes", [{"password": "short"}, {"password": "Password123!"}, {"email": "root"}])
async def test_an_administrator_gets_no_weaker_password_than_others(
    database: Database, passwords: Passwords, clock: Clock, database_urls: DatabaseUrls, changes: dict[str, str]
) -> None:
    with pytest.raises(InvalidInput):
        await make(database, passwords, clock, **changes)
    assert await rows(database_urls, "SELECT id FROM users") == []


async def test_a_promotion_happens_once_and_leaves_the_password(
    database: Database, desk: Desk, database_urls: DatabaseUrls
) -> None:
    await desk.a_user(Role.SUPPORT, email="support@example.com")
    assert await promote_to_admin(database, email="SUPPORT@example.com")
    assert not await promote_to_admin(database, email="support@example.com")
    assert await rows(database_urls, "SELECT role, password_hash FROM users") == [
        {"role": "admin", "password_hash": "unused"}
    ]
    (audit,) = await rows(database_urls, "SELECT action, detail FROM audit_log")
    assert audit["detail"] == {"role": "admin", "was": "support", "by": "command line"}


@pytest.mark.parametrize("changes", [{"email_verified_at": None}, {"is_active": False}])
async def test_nobody_is_promoted_whose_address_is_unproved_or_who_is_suspended(
    database: Database, desk: Desk, changes: dict[str, Any], database_urls: DatabaseUrls
) -> None:
    await desk.a_user(email="eve@example.com", **changes)
    with pytest.raises(Conflict):
        await promote_to_admin(database, email="eve@example.com")
    assert await rows(database_urls, "SELECT role FROM users") == [{"role": "customer"}]


async def test_a_stranger_is_not_promoted(database: Database) -> None:
    with pytest.raises(NotFound):
        await promote_to_admin(database, email="nobody@example.com")


async def test_demo_people_can_sign_in_and_the_platform_key_opens(
    database: Database, passwords: Passwords, settings: ApiSettings, clock: Clock, database_urls: DatabaseUrls
) -> None:
    await seed(database, passwords, settings, clock)
    users = await rows(database_urls, "SELECT * FROM users ORDER BY email")
    assert [(user["email"], user["role"]) for user in users] == [
        ("admin@devstack.test", "admin"),
        ("customer@devstack.test", "customer"),
    ]
    assert all(user["email_verified_at"] and user["is_active"] for user in users)
    assert await passwords.verify("demo-admin", users[0]["password_hash"])
    assert await passwords.verify("demo-customer", users[1]["password_hash"])

    (key,) = await rows(database_urls, "SELECT * FROM api_keys")
    assert (key["key_id"], key["user_id"], key["license_id"], key["is_active"]) == ("npk_devstack", None, None, True)
    assert (key["name"], key["permissions"]) == (
        "devstack platform key",
        ["validate", "reserve", "usage", "lease"],
    )
    secret = settings.secrets.sealer.open(key["secret"], context=SECRET_CONTEXT.format("npk_devstack"))
    assert secret == b"the platform's secret"
    assert key["key_hash"] == settings.secrets.index.digest("api_secret", "the platform's secret")
    assert await rows(database_urls, "SELECT job->>'type' AS job FROM outbox") == [{"job": "project_api_key"}]


async def test_a_second_run_changes_nothing(
    database: Database, passwords: Passwords, settings: ApiSettings, clock: Clock, database_urls: DatabaseUrls
) -> None:
    await seed(database, passwords, settings, clock)
    before = await rows(database_urls, EVERYTHING)
    await seed(database, passwords, settings, clock)
    assert await rows(database_urls, EVERYTHING) == before


async def test_new_passwords_and_a_new_secret_are_taken_over(
    database: Database, passwords: Passwords, settings: ApiSettings, clock: Clock, database_urls: DatabaseUrls
) -> None:
    await seed(database, passwords, settings, clock)
    changed = replace(DEMO, customer=(DEMO.customer[0], "another-one"), platform_key=("npk_devstack", "another"))
    await seed(database, passwords, settings, clock, changed)
    users = await rows(database_urls, "SELECT password_hash FROM users ORDER BY email")
    assert await passwords.verify("demo-admin", users[0]["password_hash"])
    assert await passwords.verify("another-one", users[1]["password_hash"])
    (key,) = await rows(database_urls, "SELECT secret, version FROM api_keys")
    assert settings.secrets.sealer.open(key["secret"], context=SECRET_CONTEXT.format("npk_devstack")) == b"another"
    assert key["version"] == 2


async def test_production_gets_no_demo_people(
    database: Database, passwords: Passwords, settings: ApiSettings, clock: Clock, database_urls: DatabaseUrls
) -> None:
    with pytest.raises(Forbidden, match="NP_ENVIRONMENT"):
        await seed(database, passwords, replace(settings, environment="production"), clock)
    assert await rows(database_urls, EVERYTHING) == []


async def test_two_runs_at_once_make_each_of_them_once(
    database: Database, passwords: Passwords, settings: ApiSettings, clock: Clock, database_urls: DatabaseUrls
) -> None:
    await asyncio.gather(*(seed(database, passwords, settings, clock) for _ in range(3)))
    (counts,) = await rows(
        database_urls, "SELECT (SELECT count(*) FROM users) AS users, (SELECT count(*) FROM api_keys) AS keys"
    )
    assert counts == {"users": 2, "keys": 1}


def test_a_password_from_a_pipe_is_its_first_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(" seven green bicycles \r\nrest\n"))
    assert ask_password() == " seven green bicycles "


@pytest.mark.parametrize(("second", "said"), [(PASSWORD, PASSWORD), ("something else", "the two passwords differ")])
def test_a_password_from_a_terminal_is_typed_twice_and_not_shown(second: str, said: str) -> None:
    keyboard, terminal = os.openpty()
    script = (
        "from billing_api.cli.initial_users import ask_password\n"
        "try:\n    print('got', ask_password())\n"
        "except Exception as refusal:\n    print('got', refusal)\n"
    )
    # Without a controlling terminal getpass falls back on standard input, which is the terminal made here.
    with subprocess.Popen(
        (sys.executable, "-c", script),
        cwd=ROOT,
        env=process_environment(),
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=terminal,
        start_new_session=True,
        text=True,
    ) as asked:
        os.close(terminal)
        shown = _until(keyboard, "Password: ")
        os.write(keyboard, f"{PASSWORD}\n".encode())
        shown += _until(keyboard, "The same again: ")
        os.write(keyboard, f"{second}\n".encode())
        out, _ = asked.communicate(timeout=30)
    os.close(keyboard)
    assert f"got {said}" in out
    assert PASSWORD not in shown


def _until(keyboard: int, prompt: str) -> str:
    """Reads what the terminal shows until it asks."""
    shown = ""
    while prompt not in shown:
        ready, _, _ = select.select([keyboard], [], [], 30)
        assert ready, shown
        shown += os.read(keyboard, 1000).decode()
    return shown


async def test_a_registration_that_nobody_proved_does_not_keep_the_operator_out(
    database: Database, passwords: Passwords, clock: Clock, database_urls: DatabaseUrls, desk: Desk
) -> None:
    """A stranger who knows the address of the future administrator could type it into the form first."""
    await desk.a_user(email="Root@example.com", password_hash="a stranger's", email_verified_at=None)
    await make(database, passwords, clock)
    (root,) = await rows(database_urls, "SELECT role, password_hash FROM users WHERE email = 'root@example.com'")
    assert root["role"] == "admin"
    assert root["password_hash"].startswith("$argon2id$")
    (stranger,) = await rows(database_urls, "SELECT is_active, password_hash FROM users WHERE email LIKE 'deleted+%'")
    assert stranger == {"is_active": False, "password_hash": "!"}
