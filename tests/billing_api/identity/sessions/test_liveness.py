"""Ended sessions are refused at once, everywhere, with processes killed and servers away.

Two processes share a Redis that remembers for an hour what Postgres said; whatever ends a session in one of them must
hold in the other with the next request.
"""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any, Final

import httpx
import pytest
from litestar import Litestar
from redis.asyncio import Redis

from billing_api.access.permissions import Principal
from billing_api.identity.sessions import refresh_tokens, repository
from billing_api.identity.sessions.liveness import Liveness
from billing_api.identity.sessions.uses import SessionUses
from billing_api.server.app import create_app
from core.access_store.store import AccessStore
from core.errors import Unauthenticated
from core.hotstore import keys
from core.settings import ApiSettings, process_environment
from db.models.identity import Role
from db.reads import SystemReads
from db.unit_of_work import Database
from tests.billing_api.conftest import Client, FakeTime
from tests.support.databases import change
from tests.support.environment import environment
from tests.support.people import Desk, Headers
from tests.support.servers import ROOT, DatabaseUrls
from tests.support.visitors import alive, browser

AWAY: Final = "redis://127.0.0.1:1"
ME: Final = "/api/v1/me"


@pytest.fixture(scope="module")
async def second_app(settings: ApiSettings, app_clock: FakeTime) -> AsyncIterator[Litestar]:
    async with alive(create_app(settings, app_clock)) as app:
        yield app


@pytest.fixture
async def elsewhere(second_app: Litestar, valkey: str) -> AsyncIterator[Client]:
    """A client of the other process, with an empty Redis."""
    async with browser(second_app) as client:
        yield client


@pytest.fixture
def long_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis's answers are believed for an hour, so that no test passes because they expired."""
    monkeypatch.setattr("core.access_store.store.BELIEVED_SECONDS", 3600)


@pytest.fixture
async def store(valkey: str) -> AsyncIterator[AccessStore]:
    store = AccessStore(valkey)
    yield store
    await store.close()


@pytest.fixture
async def reads(settings: ApiSettings) -> AsyncIterator[SystemReads]:
    reads = SystemReads(settings.database_url)
    yield reads
    await reads.close()


@pytest.fixture
async def uses(database: Database) -> AsyncIterator[SessionUses]:
    uses = SessionUses(database)
    yield uses
    await uses.close()


@pytest.fixture
async def liveness(
    database: Database, reads: SystemReads, store: AccessStore, uses: SessionUses, clock: FakeTime
) -> Liveness:
    return Liveness(database, reads, store, uses, clock)


@pytest.fixture
async def cut_off(
    database: Database, reads: SystemReads, uses: SessionUses, clock: FakeTime
) -> AsyncIterator[Liveness]:
    """That of a process which cannot reach Redis."""
    lost = AccessStore(AWAY)
    yield Liveness(database, reads, lost, uses, clock)
    await lost.close()


def principal(desk: Desk, me: Headers, role: Role = Role.CUSTOMER) -> Principal:
    user_id = desk.user_of(me)
    return Principal(user_id, role, user_id, desk.clock())


async def believed(store: AccessStore, who: Principal) -> bool:
    return (await store.look(who.session_id, who.user_id)).role is not None


async def _by_its_owner(client: Client, desk: Desk, me: Headers) -> httpx.Response:
    return await client.delete(f"/api/v1/me/sessions/{desk.user_of(me)}", headers=me)


async def _by_its_owner_elsewhere(client: Client, desk: Desk, me: Headers) -> httpx.Response:
    there = desk.signed_in(desk.user_of(me), session_id=await desk.a_session(desk.user_of(me)))
    return await client.post("/api/v1/me/sessions/revoke-others", headers=there)


async def _by_signing_out(client: Client, desk: Desk, me: Headers) -> httpx.Response:
    return await client.post("/api/v1/auth/logout", headers=me)


async def _by_a_copied_refresh_token(client: Client, desk: Desk, me: Headers) -> httpx.Response:
    copied = refresh_tokens.first(desk.user_of(me), desk.settings.secrets.index)
    refused = await client.post("/api/v1/auth/refresh", headers={"Cookie": f"np_refresh={copied}"})
    assert refused.status_code == 401
    return httpx.Response(200)


async def _by_suspension(client: Client, desk: Desk, me: Headers) -> httpx.Response:
    path = f"/api/v1/admin/users/{desk.user_of(me)}/suspend"
    return await client.post(path, json={"reason": "fraud"}, headers=await desk.staff())


async def _by_a_new_role(client: Client, desk: Desk, me: Headers) -> httpx.Response:
    path = f"/api/v1/admin/users/{desk.user_of(me)}/role"
    return await client.post(path, json={"role": "support"}, headers=await desk.staff())


ENDINGS: Final[dict[str, Callable[[Client, Desk, Headers], Awaitable[httpx.Response]]]] = {
    "its owner": _by_its_owner,
    "its owner, from elsewhere": _by_its_owner_elsewhere,
    "signing out": _by_signing_out,
    "a copied refresh token": _by_a_copied_refresh_token,
    "suspension": _by_suspension,
    "another role": _by_a_new_role,
}


@pytest.mark.usefixtures("long_memory")
@pytest.mark.parametrize("end", ENDINGS.values(), ids=ENDINGS.keys())
async def test_what_ends_in_one_process_is_refused_by_the_other_with_the_next_request(
    client: Client, elsewhere: Client, desk: Desk, store: AccessStore, end: Any
) -> None:
    me, bob = desk.signed_in(await desk.a_user()), desk.signed_in(await desk.a_user())
    for process in (client, elsewhere):
        for who in (me, bob):
            assert (await process.get(ME, headers=who)).status_code == 200
    assert await believed(store, principal(desk, me)), "the test would prove nothing"
    assert (await end(client, desk, me)).is_success
    for process in (elsewhere, client):
        refused = await process.get(ME, headers=me)
        assert (refused.status_code, refused.json()["code"]) == (401, "unauthenticated")
        assert (await process.get(ME, headers=bob)).status_code == 200
    assert await believed(store, principal(desk, bob))


class Killed(BaseException):
    """The process is killed right after COMMIT."""


@pytest.mark.usefixtures("long_memory")
async def test_a_process_that_dies_right_after_commit_leaves_nothing_that_is_believed(
    database: Database, desk: Desk, liveness: Liveness, store: AccessStore
) -> None:
    me = principal(desk, desk.signed_in(await desk.a_user()))
    await liveness.check(me)
    assert await believed(store, me)

    async def end_and_die() -> None:
        async with liveness.revocation() as revocation:
            async with database.as_system() as tx:
                await repository.end(tx, me.user_id, desk.clock())
                await revocation.fence(me.user_id)
            raise Killed

    with pytest.raises(Killed):
        await end_and_die()
    with pytest.raises(Unauthenticated):
        await liveness.check(me)


SCRIPT: Final = """
import asyncio, os, signal, sys
from uuid import UUID
from redis.asyncio import Redis
from billing_api.identity.sessions import repository
from billing_api.identity.sessions.liveness import Liveness
from billing_api.identity.sessions.uses import SessionUses
from core.clock import utc_now
from core.access_store.store import AccessStore
from core.settings import api_settings
from db.engine import create_engine
from db.reads import SystemReads
from db.unit_of_work import Database

async def main(user_id):
    settings = api_settings()
    database = Database(create_engine(settings.database_url))
    reads = SystemReads(settings.database_url)
    liveness = Liveness(database, reads, AccessStore(settings.queue_redis_url), SessionUses(database), utc_now)
    async with liveness.revocation() as revocation:
        async with database.as_system() as tx:
            await repository.end(tx, user_id, utc_now())
            await revocation.fence(user_id)
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main(UUID(sys.argv[1])))
"""


@pytest.mark.usefixtures("long_memory")
async def test_kill_9_right_after_commit(
    desk: Desk, liveness: Liveness, store: AccessStore, database_urls: DatabaseUrls, valkey: str
) -> None:
    me = principal(desk, desk.signed_in(await desk.a_user()))
    await liveness.check(me)
    env = process_environment() | environment(database_urls, redis_url=AWAY, QUEUE_REDIS_URL=valkey)
    done = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SCRIPT, str(me.user_id)), cwd=ROOT, env=env, stderr=subprocess.PIPE
    )
    _, said = await done.communicate()
    assert done.returncode == -signal.SIGKILL, said.decode()
    with pytest.raises(Unauthenticated):
        await liveness.check(me)


@pytest.mark.usefixtures("long_memory")
async def test_between_fence_and_commit_postgres_is_asked_and_nothing_is_kept(
    database: Database, desk: Desk, liveness: Liveness, store: AccessStore
) -> None:
    me = principal(desk, desk.signed_in(await desk.a_user()))
    async with liveness.revocation() as revocation, database.as_system() as tx:
        await repository.end(tx, me.user_id, desk.clock())
        await revocation.fence(me.user_id)
        await liveness.check(me)  # not committed: it lives
        assert not await believed(store, me)
    with pytest.raises(Unauthenticated):
        await liveness.check(me)


async def test_a_transaction_that_fails_ends_nothing(
    database: Database, desk: Desk, liveness: Liveness, store: AccessStore
) -> None:
    me = principal(desk, desk.signed_in(await desk.a_user()))

    async def fail() -> None:
        async with liveness.revocation() as revocation, database.as_system() as tx:
            await repository.end(tx, me.user_id, desk.clock())
            await revocation.fence(me.user_id)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    await liveness.check(me)


async def test_who_cannot_reach_redis_answers_when_what_it_knows_is_stale(
    database: Database, desk: Desk, liveness: Liveness, cut_off: Liveness
) -> None:
    """One process cannot reach Redis, the others can. Here answers are believed for the real two seconds."""
    me = principal(desk, desk.signed_in(await desk.a_user()))
    await liveness.check(me)
    async with cut_off.revocation() as revocation, database.as_system() as tx:
        await liveness.check(me)  # as fresh as can be
        await repository.end(tx, me.user_id, desk.clock())
        await revocation.fence(me.user_id)
    with pytest.raises(Unauthenticated):
        await liveness.check(me)


async def test_with_redis_away_postgres_is_asked(cut_off: Liveness, desk: Desk) -> None:
    me = principal(desk, desk.signed_in(await desk.a_user()))
    for _ in range(3):
        await cut_off.check(me)


async def test_a_change_past_the_application_holds_when_redis_has_gone_stale(
    desk: Desk, liveness: Liveness, store: AccessStore, database_urls: DatabaseUrls
) -> None:
    me = principal(desk, desk.signed_in(await desk.a_user()))
    await liveness.check(me)
    await change(database_urls, "UPDATE users SET is_active = false")
    seen = await store.look(me.session_id, me.user_id)
    long_ago = seen._replace(at=seen.at - 2_000_001)
    assert await store.keep(me.session_id, me.user_id, long_ago, "customer")
    with pytest.raises(Unauthenticated):
        await liveness.check(me)


@pytest.mark.parametrize(
    "change_me",
    [
        "UPDATE users SET is_active = false",
        "UPDATE users SET role = 'support'",
        "UPDATE sessions SET revoked_at = now()",
        "UPDATE sessions SET expires_at = now() - interval '1 second'",
        "DELETE FROM sessions",
    ],
)
async def test_postgres_has_the_last_word(
    desk: Desk, liveness: Liveness, valkey: str, database_urls: DatabaseUrls, change_me: str
) -> None:
    me = principal(desk, desk.signed_in(await desk.a_user()))
    await change(database_urls, change_me)
    with pytest.raises(Unauthenticated):
        await liveness.check(me)


async def test_a_session_opens_nobody_elses_account(desk: Desk, liveness: Liveness) -> None:
    """Such claims would be signed only by our own mistake; the signature alone must not be enough."""
    ada, bob = await desk.a_user(), await desk.a_user()
    with pytest.raises(Unauthenticated):
        await liveness.check(Principal(bob, Role.CUSTOMER, ada, desk.clock()))


async def test_what_is_kept_says_role_and_instant_and_nothing_of_the_token(
    desk: Desk, liveness: Liveness, valkey: str
) -> None:
    me = principal(desk, desk.signed_in(await desk.a_user()))
    await liveness.check(me)
    redis = Redis.from_url(valkey)
    generation, at, role = (await redis.get(keys.session(me.session_id))).split()
    assert generation == await redis.get(keys.session_generation(me.user_id))
    assert (int(at) > 0, role) == (True, b"customer")
    assert 0 < await redis.ttl(keys.session(me.session_id)) <= timedelta(minutes=30).total_seconds()
    await redis.aclose()
