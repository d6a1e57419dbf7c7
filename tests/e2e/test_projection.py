"""Projection on the whole stack: an emptied Redis is filled again, and no license is called invalid meanwhile."""

import socket
import time
from urllib.parse import urlsplit

import httpx
from sqlalchemy import text

from db.engine import create_engine
from devstack.visitor import Visitor, eventually
from tests.e2e.conftest import RunningStack, serves


def flush(url: str) -> None:
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(b"FLUSHALL\r\n")
        assert connection.recv(100) == b"+OK\r\n"


def a_license(visitor: Visitor) -> tuple[str, str]:
    order = {"email": visitor.facts["customer"]["email"], "plan": "starter"}
    issued = visitor.call("POST", "/admin/licenses", visitor.admin(), order)
    eventually("a valid verdict", lambda: visitor.judged(issued["license_key"], "VALID"))
    return issued["id"], issued["license_key"]


def test_an_emptied_redis_is_rebuilt_and_nobody_is_refused_meanwhile(visitor: Visitor) -> None:
    _, key = a_license(visitor)
    visitor.report_usage(key, count=2)
    eventually("the report to arrive", lambda: visitor.judged(key, "VALID", remaining=3))
    flush(str(visitor.facts["redis_url"]))
    seen: set[str] = set()

    def rebuilt() -> bool:
        verdict = visitor.verdict(key)
        seen.add(str(verdict["code"]))
        return verdict.get("valid") is True and not verdict["stale"] and verdict["remaining_quota"] == 3

    began = time.perf_counter()
    eventually("a rebuilt projection", rebuilt, 30)
    assert "NOT_FOUND" not in seen
    assert time.perf_counter() - began < 30


def test_the_validator_answers_while_postgres_is_down(stack: RunningStack, visitor: Visitor) -> None:
    _, key = a_license(visitor)
    before = stack.pids("postgres")
    stack.kill("postgres")
    for _ in range(20):
        assert visitor.verdict(key)["code"] == "VALID"
    assert stack.restarted("postgres", before)
    eventually("the API", lambda: serves(visitor, "billing_api"), 30)
    license_id, other = a_license(visitor)
    assert license_id
    assert visitor.judged(other, "VALID")


def test_a_killed_validator_comes_back(stack: RunningStack, visitor: Visitor) -> None:
    _, key = a_license(visitor)
    before = stack.pids("validator")
    stack.kill("validator")
    assert stack.restarted("validator", before)

    def answered() -> bool:
        try:
            return visitor.judged(key, "VALID") is not None
        except httpx.HTTPError:
            return False

    assert eventually("a verdict", answered)


async def test_a_change_made_by_hand_is_projected(stack: RunningStack, visitor: Visitor) -> None:
    license_id, key = a_license(visitor)
    engine = create_engine(str(stack.facts()["owner_database_url"]), pool_size=1)
    try:
        async with engine.begin() as connection:
            change = text("UPDATE licenses SET status = 'suspended' WHERE id = CAST(:id AS uuid)")
            await connection.execute(change, {"id": license_id})
    finally:
        await engine.dispose()
    assert eventually("the verdict", lambda: visitor.judged(key, "SUSPENDED"))
