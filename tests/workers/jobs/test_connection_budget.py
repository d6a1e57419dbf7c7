"""The connection budget: the pool is the sum of what parts and jobs declare, and an undeclared one does not run."""

from contextlib import AsyncExitStack

import pytest

from core.jobs import DeliverMail
from core.parts import Parts
from core.settings import worker_settings
from tests.support.environment import environment
from tests.support.servers import DatabaseUrls
from workers.jobs import connection_budget
from workers.jobs.dispatch import Work
from workers.runtime import Runtime


async def _nothing(_job: object) -> None:
    raise AssertionError


def test_the_pool_is_the_declared_sum() -> None:
    jobs = [room.at_once * room.connections for room in connection_budget.JOBS.values()]
    assert (sum(jobs), connection_budget.POOL) == (33, 33 + sum(connection_budget.PARTS.values()))


@pytest.mark.parametrize(
    ("part", "work"),
    [
        ("a part of tomorrow", Work(DeliverMail, _nothing, claim_seconds=15)),
        ("relay", Work(DeliverMail, _nothing, claim_seconds=15, at_once=5)),
        ("relay", Work(DeliverMail, _nothing, claim_seconds=15, connections=2)),
    ],
    ids=["part", "jobs at once", "connections of a job"],
)
def test_who_has_not_declared_does_not_start(part: str, work: Work[DeliverMail]) -> None:
    connection_budget.check(["relay"], [Work(DeliverMail, _nothing, claim_seconds=15)])
    with pytest.raises(connection_budget.Undeclared):
        connection_budget.check([part], [work])


async def test_a_process_has_the_pool_that_was_declared(database_urls: DatabaseUrls, valkey: str) -> None:
    async with AsyncExitStack() as closing:
        runtime = Runtime(worker_settings(environment(database_urls, redis_url=valkey)), closing, Parts())
        assert runtime._database.engine.pool.size() == connection_budget.POOL  # type: ignore[attr-defined]  # of a QueuePool
