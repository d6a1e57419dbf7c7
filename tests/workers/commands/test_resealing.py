"""Key rotation: every sealed value moves to the new key, beside other writers, and wherever the run is killed."""

import asyncio
import base64
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, Final

import pytest
from redis.asyncio import Redis
from sqlalchemy import insert, text

from billing_api.identity.second_factor.totp import sealed_secret
from billing_api.licensing.api_keys.issuing import SECRET_CONTEXT
from billing_api.licensing.licenses.issuing import KEY_CONTEXT, Issued
from billing_api.licensing.licenses.schemas import RevealedKey
from billing_api.notifications.mails.rendering import MAIL_TOKEN_CONTEXT
from core.clock import utc_now
from core.crypto.sealing import Sealer, sealed_under
from core.hotstore.writer import Writer
from core.ids import new_id
from core.jobs import MailResetLink
from core.settings import process_environment
from db.idempotency import Once
from db.models.identity import TotpFactor
from db.models.licensing import ApiKey
from db.models.messaging import Mail
from db.sealed_columns import SEALED
from db.unit_of_work import Database
from tests.support.databases import as_owner, change, rows
from tests.support.environment import environment
from tests.support.people import Desk
from tests.support.servers import ROOT, DatabaseUrls
from tests.workers.world import HotStore
from workers.commands.resealing import Resealing
from workers.projection.relay import Relay

OLD: Final = {"k1": bytes(range(32))}
BOTH: Final = Sealer({"k2": bytes(range(32, 64)), **OLD})
ONLY_NEW: Final = Sealer({"k2": bytes(range(32, 64))})
KEYS: Final = ",".join(
    f"{name}:{base64.b64encode(key).decode()}" for name, key in {"k2": bytes(range(32, 64)), **OLD}.items()
)


async def a_license_with_secrets(desk: Desk) -> Issued:
    """One row for each line of the list."""
    user = await desk.a_user()
    issued = await desk.a_license(user)
    sealer = desk.settings.secrets.sealer
    key_id = f"npk_{new_id().hex}"
    once = Once(sealer, scope="s", key=new_id().hex, body=b"", user_id=user)
    key: dict[str, Any] = {
        "id": new_id(),
        "user_id": user,
        "license_id": issued.license.id,
        "key_id": key_id,
        "key_hash": b"h",
        "secret": sealer.seal(b"secret", context=SECRET_CONTEXT.format(key_id)),
        "previous_secret": sealer.seal(b"older", context=SECRET_CONTEXT.format(key_id)),
        "previous_until": utc_now(),
        "name": "a key",
        "permissions": ["usage"],
        "is_active": True,
    }
    token = base64.b64encode(sealer.seal(b"token", context=MAIL_TOKEN_CONTEXT)).decode()
    mail = {"key": new_id().hex, "user_id": user, "recipient": "a@example.com", "template": "verify_email"}
    async with desk.database.as_system() as tx:
        await tx.session.execute(insert(ApiKey).values(key))
        address = base64.b64encode(sealer.seal(b"a@example.com", context="outbox.mail_reset_link")).decode()
        await tx.enqueue(MailResetLink(new_id(), address))
        factor = {"user_id": user, "secret": sealed_secret(sealer, "totp", user_id=user), "started_at": utc_now()}
        await tx.session.execute(insert(TotpFactor).values(factor))
        await tx.session.execute(insert(Mail).values(mail | {"parameters": {"token_sealed": token, "name": "Ada"}}))
        assert await once.claim(tx, RevealedKey) is None
        await once.record(tx, RevealedKey(issued.key))
    return issued


async def test_every_value_opens_with_the_new_key_alone(
    desk: Desk, database: Database, database_urls: DatabaseUrls
) -> None:
    issued = await a_license_with_secrets(desk)
    result = await Resealing(database, BOTH).run()
    assert result.done == len(SEALED)
    assert {name: dict(found) for name, found in result.under.items()} == {one.name: {"k2": 1} for one in SEALED}
    [license_] = await rows(database_urls, "SELECT * FROM licenses")
    opened = ONLY_NEW.open(license_["license_key"], context=KEY_CONTEXT.format(license_["id"]))
    assert opened.decode() == issued.key
    [key] = await rows(database_urls, "SELECT * FROM api_keys")
    context = SECRET_CONTEXT.format(key["key_id"])
    assert ONLY_NEW.open(key["secret"], context=context) == b"secret"
    assert ONLY_NEW.open(key["previous_secret"], context=context) == b"older"
    [mail] = await rows(database_urls, "SELECT parameters FROM mails")
    sealed = base64.b64decode(mail["parameters"]["token_sealed"], validate=True)
    assert ONLY_NEW.open(sealed, context=MAIL_TOKEN_CONTEXT) == b"token"
    assert mail["parameters"]["name"] == "Ada"
    [stored] = await rows(database_urls, "SELECT scope, key, answer FROM idempotency_keys")
    context = f"idempotency_keys.answer:{stored['scope']}:{stored['key']}"
    assert issued.key.encode() in ONLY_NEW.open(stored["answer"], context=context)


async def test_a_license_is_the_same_and_an_api_key_a_new_version(
    desk: Desk, database: Database, database_urls: DatabaseUrls
) -> None:
    await a_license_with_secrets(desk)
    await change(database_urls, "DELETE FROM outbox")
    before = await rows(database_urls, "SELECT version, updated_at, license_key_hash FROM licenses")
    await Resealing(database, BOTH).run()
    assert await rows(database_urls, "SELECT version, updated_at, license_key_hash FROM licenses") == before
    assert {row["type"] for row in await rows(database_urls, "SELECT job ->> 'type' AS type FROM outbox")} == {
        "project_api_key"
    }
    await change(database_urls, "UPDATE licenses SET license_key = license_key || '\\x00', max_domains = 1")
    assert (await rows(database_urls, "SELECT version FROM licenses"))[0]["version"] == before[0]["version"] + 1


async def test_the_documents_in_redis_follow(
    desk: Desk, database: Database, writer: Writer, hot_store: HotStore, database_urls: DatabaseUrls
) -> None:
    await a_license_with_secrets(desk)
    relay = Relay(database, writer, utc_now, complete=lambda: True)
    await relay.catch_up()
    [key] = await rows(database_urls, "SELECT key_id FROM api_keys")
    before = await hot_store.api_key(key["key_id"])
    assert before is not None
    assert sealed_under(before.current_secret) == "k1"
    await Resealing(database, BOTH).run()
    await relay.catch_up()
    after = await hot_store.api_key(key["key_id"])
    assert after is not None
    assert ONLY_NEW.open(after.current_secret, context=SECRET_CONTEXT.format(key["key_id"])) == b"secret"


async def test_two_at_once_share_the_work(desk: Desk, database: Database) -> None:
    for _ in range(12):
        await a_license_with_secrets(desk)
    one, other = await asyncio.gather(*(Resealing(database, BOTH, at_once=2).run() for _ in range(2)))
    assert one.done + other.done == 12 * len(SEALED)
    assert one.left("k2") == other.left("k2") == 0
    assert (await Resealing(database, BOTH).run()).done == 0


async def test_a_row_that_somebody_holds_is_left_for_later_and_keeps_his_change(
    desk: Desk, database: Database, database_urls: DatabaseUrls
) -> None:
    for _ in range(3):
        await a_license_with_secrets(desk)
    resealing = Resealing(database, BOTH)
    async with as_owner(database_urls) as owner:
        chosen = "UPDATE licenses SET max_domains = 77 WHERE id = (SELECT min(id::text)::uuid FROM licenses)"
        await owner.execute(text(chosen))
        result = await asyncio.wait_for(resealing.run(), 60)
        assert result.under["licenses.license_key"] == {"k2": 2, "k1": 1}
        assert result.left("k2") == 1
    assert (await resealing.run()).left("k2") == 0
    assert await rows(database_urls, "SELECT count(*) FROM licenses WHERE max_domains = 77") == [{"count": 1}]


async def test_what_cannot_be_opened_is_told_and_keeps_nothing_else_back(
    desk: Desk, database: Database, database_urls: DatabaseUrls
) -> None:
    for _ in range(3):
        await a_license_with_secrets(desk)
    chosen = "WHERE id = (SELECT min(id::text)::uuid FROM licenses)"
    await change(database_urls, f"UPDATE licenses SET license_key = 'k0.' || license_key {chosen}")
    result = await Resealing(database, BOTH, at_once=1).run()
    [unreadable] = result.unreadable
    assert unreadable.place == "licenses.license_key"
    assert "no key-encryption key with the id" in unreadable.why
    assert result.left("k2") == 1


def command(urls: DatabaseUrls, valkey: str, *arguments: str) -> "subprocess.Popen[str]":
    env: Mapping[str, str] = process_environment() | environment(urls, redis_url=valkey, NP_KEK=KEYS)
    return subprocess.Popen(
        (sys.executable, "-m", "workers.commands.rotate_kek", *arguments),
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


async def ended(process: "subprocess.Popen[str]") -> tuple[int, str]:
    said, _ = await asyncio.to_thread(process.communicate, timeout=500)
    return process.returncode, said


@pytest.mark.timeout(900)
async def test_the_command_killed_and_run_again_ends_with_a_proof(
    desk: Desk, database: Database, database_urls: DatabaseUrls, writer: Writer, valkey: str, redis: Redis
) -> None:
    issued = await a_license_with_secrets(desk)
    relay = Relay(database, writer, utc_now, complete=lambda: True)
    await relay.catch_up()
    copies = (
        "INSERT INTO idempotency_keys SELECT scope, key || n, user_id, body_hash, status_code, answer, created_at"
        " FROM idempotency_keys, generate_series(1, 3000) AS n"
    )
    await change(database_urls, copies)  # under other names than they were sealed for: it has to pass over them
    moved = "SELECT count(*) FROM licenses WHERE substring(license_key FROM 1 FOR 3) = 'k2.'"
    killed = command(database_urls, valkey)
    async with asyncio.timeout(300):
        while await rows(database_urls, moved) == [{"count": 0}]:  # noqa: ASYNC110  its first batch has been done
            await asyncio.sleep(0.01)
    killed.kill()
    await ended(killed)
    code, said = await ended(command(database_urls, valkey, "--wait", "0"))
    assert code == 1, said
    assert "NOT DONE" in said
    assert "3,000 under k1" in said
    await change(database_urls, "DELETE FROM idempotency_keys WHERE length(key) > 32")
    await relay.catch_up()
    code, said = await ended(command(database_urls, valkey))
    assert code == 0, said
    assert "nothing lies under any key but k2" in said
    assert "Redis, API keys" in said
    code, said = await ended(command(database_urls, valkey, "--count"))
    assert (code, "k1" in said) == (0, False)
    assert issued.key not in said


@pytest.mark.timeout(900)
async def test_it_says_what_is_wrong_and_what_it_does(desk: Desk, database_urls: DatabaseUrls) -> None:
    await a_license_with_secrets(desk)
    code, said = await ended(command(database_urls, "redis://127.0.0.1:1"))
    assert (code, "ConnectionError" in said, "Traceback" in said) == (3, True, False)
    code, said = await ended(command(database_urls, "nonsense"))
    assert (code, "REDIS_URL must be" in said) == (2, True)
    code, said = await ended(command(database_urls, "redis://127.0.0.1:1", "--help"))
    assert (code, "--count" in said) == (0, True)
