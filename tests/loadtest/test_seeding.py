"""Seeding: API, relay and validator treat seeded licenses like any others, and removal leaves no trace."""

import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # ships no types
import pytest
from redis.asyncio import Redis

from billing_api.identity.credentials.password_hashing import Passwords
from billing_api.licensing.licenses import issuing
from core.clock import utc_now
from core.hotstore import codec, keys
from core.hotstore.client import HotStoreClient
from core.hotstore.reader import Reader
from core.hotstore.writer import Writer
from core.jobs import ProjectLicense, from_row
from core.licensing import key as license_key
from core.settings import Secrets, validator_settings
from db.license_records import LICENSE_ROWS, license_record
from db.models.all_tables import METADATA
from loadtest.seeding import batch, people, projecting, removal
from loadtest.seeding.catalogue import SHARES, plans_for
from tests.support.databases import as_owner, change, opened, rows
from tests.support.environment import environment
from tests.support.rows import a_row
from tests.support.servers import DatabaseUrls


@pytest.fixture
def settings(database_urls: DatabaseUrls, valkey: str) -> dict[str, str]:
    return environment(database_urls, redis_url=valkey)


@pytest.fixture
def secrets(settings: dict[str, str]) -> Secrets:
    return validator_settings(settings).secrets


@pytest.fixture(autouse=True)
async def empty_again(database_urls: DatabaseUrls) -> AsyncIterator[None]:
    async with opened(database_urls):
        yield


async def order(settings: dict[str, str], size: int = 60, plan: str = "mix", customers: int = 3) -> batch.Order:
    connection = await asyncpg.connect(settings["OWNER_DATABASE_URL"])
    try:
        plans = await plans_for(connection, plan)
        who = await people.create(connection, customers)
    finally:
        await connection.close()
    return batch.Order(settings, plans, [customer.id for customer in who], size)


async def documents(valkey: str, hashes: list[bytes]) -> list[Any]:
    redis = Redis.from_url(valkey)
    try:
        found = [await redis.get(keys.document(keys.short_hash(digest))) for digest in hashes]
    finally:
        await redis.aclose()
    return [None if packed is None else codec.decode_license(packed) for packed in found]


async def test_keys_are_sealed_and_found_as_the_api_does_it(
    settings: dict[str, str], secrets: Secrets, database_urls: DatabaseUrls
) -> None:
    made = await batch.make(await order(settings))
    assert batch.KEY_CONTEXT == issuing.KEY_CONTEXT
    assert len(set(made.keys)) == 60
    found = {row["license_key_hash"]: row for row in await rows(database_urls, "SELECT * FROM licenses")}
    for key in made.keys:
        assert license_key.parse(key, secrets.license_checksum_key) == key
        row = found[secrets.index.digest("license_key", key)]
        opened_key = secrets.sealer.open(row["license_key"], context=issuing.KEY_CONTEXT.format(row["id"]))
        assert opened_key.decode() == key


async def test_redis_holds_what_the_relay_would_have_written(
    settings: dict[str, str], database_urls: DatabaseUrls, valkey: str
) -> None:
    made = await batch.make(await order(settings))
    assert made.projected
    async with opened(database_urls) as database, database.as_system() as tx:
        expected = dict(map(license_record, (await tx.session.execute(LICENSE_ROWS)).all()))
    assert len(expected) == 60
    assert await documents(valkey, list(expected)) == list(expected.values())
    assert await rows(database_urls, "SELECT * FROM outbox") == [], "nothing is left for the relay"


async def test_a_batch_that_redis_did_not_take_is_left_to_the_relay(
    settings: dict[str, str], database_urls: DatabaseUrls
) -> None:
    made = await batch.make(await order(settings | {"REDIS_URL": "redis://127.0.0.1:1"}, size=7))
    assert not made.projected
    waiting = await rows(database_urls, "SELECT job, due_at > now() AS later FROM outbox WHERE lane = 'projection'")
    licenses = await rows(database_urls, "SELECT id FROM licenses")
    jobs = [from_row(row["job"]) for row in waiting]
    assert {job.license_id for job in jobs if isinstance(job, ProjectLicense)} == {row["id"] for row in licenses}
    assert len(jobs) == len(licenses) == 7
    assert all(row["later"] for row in waiting), "not before the batch has had time to do it itself"


async def test_other_peoples_changes_are_still_projected(settings: dict[str, str], database_urls: DatabaseUrls) -> None:
    """The trigger was off for the batch's own transaction, and for nobody after it."""
    await batch.make(await order(settings, size=1))
    await change(database_urls, "UPDATE licenses SET status = 'suspended'")
    [row] = await rows(database_urls, "SELECT job FROM outbox")
    assert isinstance(from_row(row["job"]), ProjectLicense)


async def test_a_mix_has_its_shares_and_a_single_plan_is_one(
    settings: dict[str, str], database_urls: DatabaseUrls
) -> None:
    await batch.make(await order(settings, size=2000))
    statement = "SELECT license_type::text AS type, count(*) AS number FROM licenses GROUP BY 1"
    mixed = {row["type"]: row["number"] for row in await rows(database_urls, statement)}
    assert mixed.keys() == SHARES.keys()
    assert all(abs(mixed[name] / 20 - share) < 6 for name, share in SHARES.items())
    await change(database_urls, "DELETE FROM licenses")
    await batch.make(await order(settings, plan="enterprise"))
    assert [row["type"] for row in await rows(database_urls, statement)] == ["enterprise"]


async def test_a_plan_that_is_not_offered_is_told(settings: dict[str, str], database_urls: DatabaseUrls) -> None:
    await change(database_urls, "UPDATE plans SET is_active = false WHERE name = 'Starter'")
    try:
        with pytest.raises(LookupError, match="starter"):
            await order(settings, plan="starter")
    finally:
        await change(database_urls, "UPDATE plans SET is_active = true")


async def test_seeded_customers_sign_in_without_their_password_being_hashed_anew(
    settings: dict[str, str], database_urls: DatabaseUrls
) -> None:
    connection = await asyncpg.connect(settings["OWNER_DATABASE_URL"])
    try:
        [customer] = await people.create(connection, 1)
    finally:
        await connection.close()
    [row] = await rows(database_urls, "SELECT * FROM users WHERE id = :id", id=customer.id)
    passwords = Passwords(threads=1)
    assert await passwords.verify(customer.password, row["password_hash"])
    assert not passwords.is_outdated(row["password_hash"])
    passwords.close()
    assert row["email_verified_at"] <= utc_now()


async def test_removal_takes_everything_that_is_theirs_and_nothing_else(
    settings: dict[str, str], database_urls: DatabaseUrls, valkey: str, secrets: Secrets
) -> None:
    """A row in every table that says whose it is: tables that come later are removed from as well."""
    mine = await order(settings, size=5, customers=1)
    made = await batch.make(mine)
    [stranger] = await rows(
        database_urls,
        "INSERT INTO users (id, email, password_hash, full_name, role, is_active)"
        " VALUES (gen_random_uuid(), 'stranger@example.com', '', 'S', 'customer', true) RETURNING id",
    )
    for user_id in (mine.user_ids[0], stranger["id"]):
        await one_row_in_every_table(database_urls, user_id)
    told: list[tuple[int, int]] = []
    assert await removal.remove(settings, lambda done, total: told.append((done, total))) == 6
    assert told == [(1, 1)]
    for table in owned_tables():
        owners = await rows(database_urls, f"SELECT user_id FROM {table}")
        assert [row["user_id"] for row in owners] == [stranger["id"]], table
    assert [row["id"] for row in await rows(database_urls, "SELECT id FROM users")] == [stranger["id"]]
    left = await documents(valkey, [secrets.index.digest("license_key", key) for key in made.keys])
    assert all(document.tombstone for document in left)


async def test_a_removed_license_is_denied_even_if_somebody_projects_it_late(
    settings: dict[str, str], valkey: str, secrets: Secrets
) -> None:
    made = await batch.make(await order(settings, size=1))
    digest = secrets.index.digest("license_key", made.keys[0])
    [before] = await documents(valkey, [digest])
    await removal.remove(settings, lambda _done, _total: None)
    redis = Redis.from_url(valkey)
    try:
        await projecting.apply(Writer(HotStoreClient(redis)), [(digest, before)])
        seen = await Reader(HotStoreClient(redis)).read(digest)
    finally:
        await redis.aclose()
    assert seen.record is not None
    assert seen.record.tombstone


def owned_tables() -> list[str]:
    return [table.name for table in METADATA.sorted_tables if "user_id" in table.c]


async def one_row_in_every_table(urls: DatabaseUrls, user_id: Any) -> None:
    made: dict[str, dict[str, Any]] = {}
    async with as_owner(urls) as owner:
        for table in METADATA.sorted_tables:
            if table.name == "plans":
                made["plans"] = dict((await owner.execute(table.select())).mappings().first() or {})
            elif "user_id" in table.c:
                made[table.name] = a_row(table, user_id, made)
                await owner.execute(table.insert().values(made[table.name]))
            elif table.name == "users":
                made["users"] = {"id": user_id}


def test_copy_text_survives_what_would_end_a_field_or_a_row() -> None:
    awkward = "a\tb\nc\\d\re"
    field = batch._escaped(awkward)
    assert not {"\t", "\n", "\r"} & set(field)
    assert field == "a\\tb\\nc\\\\d\\re"
    assert batch._escaped(None) == "\\N"
    assert json.loads(batch._escaped('{"a": 1}')) == {"a": 1}
