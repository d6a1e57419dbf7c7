"""Idempotency keys: the same request twice has one effect and one answer, whatever happens in between."""

import asyncio
from uuid import UUID

import msgspec
import pytest

from core.crypto.sealing import KEY_BYTES, CannotOpen, Sealer
from core.errors import IdempotencyMismatch, InvalidInput, StillRunning
from core.ids import new_id
from db.idempotency import Once, Replayable
from db.unit_of_work import Database, Transaction
from tests.support.databases import change, rows, until_blocked
from tests.support.servers import DatabaseUrls

SEALER = Sealer({"k1": bytes(KEY_BYTES)})
BODY = b'{"plan":"starter"}'


class Issued(msgspec.Struct):
    license_key: str


FIRST = Issued("NP-AAAA-BBBB-CCCC")


def once(key: str | None = "key-1", *, scope: str = "licenses", body: bytes = BODY, user: UUID | None = None) -> Once:
    return Once(SEALER, scope=scope, key=key, body=body, user_id=user)


async def carry_out(tx: Transaction, claim: Once, view: Issued) -> Replayable[Issued]:
    """Does what a service does: returns the stored answer, or does the work and stores its answer."""
    return await claim.claim(tx, Issued) or await claim.record(tx, view)


async def request(database: Database, claim: Once, view: Issued = FIRST) -> Replayable[Issued]:
    async with database.as_system() as tx:
        return await carry_out(tx, claim, view)


async def test_a_repeated_request_gets_the_first_answer(database: Database) -> None:
    assert await request(database, once()) == Replayable(FIRST, replayed=False)
    assert await request(database, once(), Issued("another")) == Replayable(FIRST, replayed=True)


async def test_another_body_is_refused_and_learns_nothing(database: Database) -> None:
    await request(database, once())
    with pytest.raises(IdempotencyMismatch) as refusal:
        await request(database, once(body=b'{"plan":"enterprise"}'))
    assert refusal.value.status == 422
    assert FIRST.license_key not in str(refusal.value)


@pytest.mark.parametrize("other", [once(scope="checkout"), once("key-2")], ids=["scope", "key"])
async def test_other_scopes_and_keys_are_other_requests(database: Database, other: Once) -> None:
    await request(database, once())
    assert await request(database, other, Issued("another")) == Replayable(Issued("another"), replayed=False)


async def test_without_a_key_every_request_is_a_new_one(database: Database, database_urls: DatabaseUrls) -> None:
    for number in ("one", "two"):
        assert await request(database, once(None), Issued(number)) == Replayable(Issued(number), replayed=False)
    assert await rows(database_urls, "SELECT key FROM idempotency_keys") == []


@pytest.mark.parametrize("key", ["", "k" * 256, "ключ", "a\nb", "a\x00b", "a\x7fb"])
def test_a_key_that_cannot_be_one_is_refused(key: str) -> None:
    with pytest.raises(InvalidInput, match="Idempotency-Key") as refused:
        once(key)
    assert [(error.field, error.code) for error in refused.value.errors] == [("Idempotency-Key", "bad_format")]


@pytest.mark.parametrize("key", ["k", "k" * 255, "'; DROP TABLE users; --", "a b~!"])
async def test_any_printable_key_will_do(database: Database, key: str) -> None:
    assert not (await request(database, once(key))).replayed
    assert (await request(database, once(key))).replayed


async def test_the_stored_answer_is_sealed_and_opens_nowhere_else(
    database: Database, database_urls: DatabaseUrls
) -> None:
    await request(database, once())
    await request(database, once("key-2"), Issued("NP-DDDD-EEEE-FFFF"))
    stored = await rows(database_urls, "SELECT answer FROM idempotency_keys")
    assert not any(b"NP-" in row["answer"] for row in stored)
    await change(
        database_urls,
        "UPDATE idempotency_keys SET answer = (SELECT answer FROM idempotency_keys WHERE key = 'key-2')"
        " WHERE key = 'key-1'",
    )
    with pytest.raises(CannotOpen):
        await request(database, once())


async def test_work_that_failed_may_be_done_again(database: Database, database_urls: DatabaseUrls) -> None:
    async def failing() -> None:
        async with database.as_system() as tx:
            await carry_out(tx, once(), FIRST)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await failing()
    assert await rows(database_urls, "SELECT key FROM idempotency_keys") == []
    assert await request(database, once(), Issued("second try")) == Replayable(Issued("second try"))


async def test_a_second_request_waits_for_the_first_and_gets_its_answer(
    database: Database, database_urls: DatabaseUrls
) -> None:
    async with database.as_system() as tx:
        assert await once().claim(tx, Issued) is None
        second = asyncio.create_task(request(database, once(), Issued("never made")))
        other_body = asyncio.create_task(request(database, once(body=b"{}")))
        await until_blocked(database_urls)
        assert not second.done()
        await once().record(tx, FIRST)
    assert await second == Replayable(FIRST, replayed=True)
    with pytest.raises(IdempotencyMismatch):
        await other_body


async def test_a_second_request_does_the_work_where_the_first_one_failed(
    database: Database, database_urls: DatabaseUrls
) -> None:
    seconds: list[asyncio.Task[Replayable[Issued]]] = []

    async def failing() -> None:
        async with database.as_system() as tx:
            await carry_out(tx, once(), FIRST)
            seconds.append(asyncio.create_task(request(database, once(), Issued("second"))))
            await until_blocked(database_urls)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await failing()
    assert await seconds[0] == Replayable(Issued("second"), replayed=False)


async def test_of_many_at_once_one_does_the_work(database: Database) -> None:
    answers = await asyncio.gather(*(request(database, once(), Issued(str(number))) for number in range(8)))
    assert sorted(answer.replayed for answer in answers) == [False] + [True] * 7
    assert len({answer.view.license_key for answer in answers}) == 1


async def claim_only(database: Database) -> Replayable[Issued] | None:
    """The first of the two transactions around a call to a partner."""
    async with database.as_system() as tx:
        return await once().claim(tx, Issued)


async def test_while_a_partner_is_asked_a_second_request_is_told_to_come_back(database: Database) -> None:
    assert await claim_only(database) is None
    with pytest.raises(StillRunning) as refusal:
        await claim_only(database)
    assert (refusal.value.status, refusal.value.retry_after) == (409, 1)
    async with database.as_system() as tx:
        await once().record(tx, FIRST)
    assert await claim_only(database) == Replayable(FIRST, replayed=True)


async def test_a_claim_whose_holder_died_is_taken_over_by_one(database: Database, database_urls: DatabaseUrls) -> None:
    await claim_only(database)
    await change(database_urls, "UPDATE idempotency_keys SET created_at = now() - interval '59 seconds'")
    with pytest.raises(StillRunning):
        await claim_only(database)
    await change(database_urls, "UPDATE idempotency_keys SET created_at = now() - interval '61 seconds'")
    takers = await asyncio.gather(*(claim_only(database) for _ in range(3)), return_exceptions=True)
    assert takers.count(None) == 1
    assert sum(isinstance(taker, StillRunning) for taker in takers) == 2


async def test_another_customer_learns_nothing_from_a_guessed_key(
    database: Database, database_urls: DatabaseUrls
) -> None:
    users = [new_id(), new_id()]
    for user_id in users:
        await change(
            database_urls,
            "INSERT INTO users (id, email, password_hash, full_name, role, is_active)"
            " VALUES (:id, CAST(:id AS uuid)::text || '@example.com', '', '', 'customer', true)",
            id=user_id,
        )
    async with database.as_customer(users[0]) as tx:
        await carry_out(tx, once(user=users[0]), FIRST)
    with pytest.raises(IdempotencyMismatch):
        async with database.as_customer(users[1]) as tx:
            await carry_out(tx, once(user=users[1]), FIRST)
