"""Request deadline: every route answers within ten seconds, even with a frozen database or Stripe."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from uuid import UUID

import httpx
import pytest
from litestar.testing import RequestFactory
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from billing_api.server.wiring.infrastructure import Infrastructure
from billing_api.web import problems
from core.clock import utc_now
from core.settings import api_settings
from db.unit_of_work import Database
from devstack.ports import choose
from devstack.postgres import Postgres
from tests.billing_api.conftest import Buying
from tests.support.buyer import PATH
from tests.support.databases import as_owner, opened, rows
from tests.support.environment import environment
from tests.support.people import Desk
from tests.support.processes import module
from tests.support.servers import DatabaseUrls, migrate, postgres_server
from tests.support.servers import database as databases

_MAY_HAVE = "it may have happened; send the same request with the same Idempotency-Key"


@contextmanager
def frozen(postgres: Postgres) -> Iterator[None]:
    """Freezes the server and all its processes with SIGSTOP: connections stay open, nothing answers."""
    master = int((postgres.data / "postmaster.pid").read_text().split()[0])
    with open(f"/proc/{master}/task/{master}/children") as children:  # noqa: PTH123  no path of a file system
        processes = [master, *map(int, children.read().split())]
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[Postgres]:
    """A server of its own that may be frozen, because other tests use the shared one meanwhile."""
    with postgres_server() as server:
        yield server


@pytest.fixture
def served(own_postgres: Postgres, valkey: str, tmp_path: Path) -> Iterator[tuple[str, DatabaseUrls]]:
    url = f"http://127.0.0.1:{(port := choose('127.0.0.1'))}"
    with databases(own_postgres) as urls:
        migrate(urls)
        env = environment(urls, redis_url=valkey, NP_API_PORT=str(port))
        with module("billing_api", health=f"{url}/health/ready", log=tmp_path / "log", env=env):
            yield url, urls


async def test_a_frozen_database_is_told_within_ten_seconds(
    served: tuple[str, DatabaseUrls], own_postgres: Postgres, valkey: str
) -> None:
    url, urls = served
    async with opened(urls) as database, httpx.AsyncClient(base_url=url, timeout=30) as client:
        desk = Desk(api_settings(environment(urls, redis_url=valkey)), database, utc_now)
        me = await desk.a_customer()
        assert (await client.get("/api/v1/licenses", headers=me)).status_code == 200
        credentials = {"email": "ada@example.com", "password": "some words that are a password"}
        with frozen(own_postgres):
            began = monotonic()
            answers = await asyncio.gather(
                client.get("/api/v1/licenses", headers=me),
                client.get("/api/v1/plans"),
                client.get("/api/v1/me", headers=me),
                client.post("/api/v1/auth/login", json=credentials),
                client.post("/api/v1/licenses/01990000-0000-7000-8000-000000000000/activation-tokens", headers=me),
            )
            took = monotonic() - began
        assert took < 10.9
        assert {answer.status_code for answer in answers} == {503}
        assert {answer.json()["conclusive"] for answer in answers} == {False}
        assert all(answer.headers["x-request-id"] and answer.headers["retry-after"] for answer in answers)
        assert (await client.get("/api/v1/licenses", headers=me)).status_code == 200  # nothing is left over


async def test_a_locked_table_is_busy_before_the_deadline(
    client: httpx.AsyncClient, desk: Desk, database_urls: DatabaseUrls
) -> None:
    me = await desk.a_customer()
    async with as_owner(database_urls) as owner:
        await owner.execute(text("LOCK TABLE licenses IN ACCESS EXCLUSIVE MODE"))
        began = monotonic()
        answer = await client.get("/api/v1/licenses", headers=me)
        took = monotonic() - began
    assert (answer.status_code, answer.json()["code"]) == (503, "busy")
    assert answer.json()["conclusive"] is False
    assert 3 < took < 8


@pytest.mark.usefixtures("on_sale")
async def test_a_stripe_that_says_nothing_is_given_eight_seconds_in_all(
    buyer: Buying, desk: Desk, stripe_simulator: str
) -> None:
    one = await buyer("Starter")
    order = {"plan_id": await one.plan_id("Professional"), "interval": "month"}
    me = await desk.a_customer() | {"Idempotency-Key": "stripe-is-silent"}
    fault = {"kind": "timeout_before", "times": 100, "hang_seconds": 60}
    assert (await one.browser.post(f"{stripe_simulator}/_sim/faults", json=fault)).is_success
    began = monotonic()
    try:
        answers = await asyncio.gather(
            one.client.post("/api/v1/checkout/sessions", json=order, headers=me),
            one.client.post(f"{PATH}/{one.id}/change", json=order, headers=one.me),
        )
        took = monotonic() - began
    finally:
        await one.browser.delete(f"{stripe_simulator}/_sim/faults")
    assert 7.5 < took < 9.5
    for answer in answers:
        assert (answer.status_code, answer.json()["conclusive"]) == (503, False)
        assert _MAY_HAVE in answer.json()["detail"]
    again = await one.client.post("/api/v1/checkout/sessions", json=order, headers=me)
    assert again.status_code == 201


async def test_the_logins_have_their_limits(
    database: Database, infrastructure: Infrastructure, database_urls: DatabaseUrls
) -> None:
    names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "transaction_timeout")
    async with infrastructure.database.as_staff(UUID(int=1)) as tx:
        found = [await tx.session.scalar(text(f"SHOW {name}")) for name in names]
    assert found == ["8s", "4s", "1min", "15s"]
    configured = await rows(database_urls, "SELECT rolname, rolconfig FROM pg_roles WHERE rolconfig IS NOT NULL")
    limits = {row["rolname"]: sorted(row["rolconfig"]) for row in configured}
    assert limits["np_worker"] == [
        "idle_in_transaction_session_timeout=60s",
        "lock_timeout=5s",
        "statement_timeout=30s",
        "transaction_timeout=60s",
    ]


@pytest.mark.parametrize("state", ["57014", "55P03", "25P03", "25P04"])
async def test_a_limit_of_the_database_is_busy(database: Database, state: str) -> None:
    with pytest.raises(DBAPIError) as passed:
        async with database.as_system() as tx:
            await tx.session.execute(text(f"DO $$ BEGIN RAISE 'over' USING ERRCODE = '{state}'; END $$"))
    answer = problems.statement_failed(RequestFactory().get("/"), passed.value)
    assert (answer.status_code, answer.content.code, answer.content.conclusive) == (503, "busy", False)
    assert answer.headers["Retry-After"] == "1"
