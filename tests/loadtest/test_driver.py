"""The open-loop driver against a real socket: what it counts, and when it sends."""

import asyncio
from collections import Counter
from itertools import count
from time import perf_counter

import pytest

from loadtest.driver import CannotDrive, Driven, Driver, Plan
from loadtest.signed_calls import SignedCalls
from tests.loadtest.stand_in import Answer, Request, StandIn, answer, verdict

_KEYS = [f"NP-{number:04}-AAAA-BBBB" for number in range(20)]


async def drive(plan: Plan) -> Driven:
    driver = Driver(plan, SignedCalls(plan.url, ("npk_1", "secret"), _KEYS))
    await driver.connect()
    return await driver.run(perf_counter())


async def valid(_request: Request) -> Answer:
    return verdict()


class Stalling:
    """Answers nothing for a while: what comes meanwhile is answered at its end."""

    def __init__(self, begins: float, lasts: float) -> None:
        self._begins, self._lasts = begins, lasts
        self._first: float | None = None

    async def __call__(self, _request: Request) -> Answer:
        now = perf_counter()
        self._first = self._first or now
        into = now - self._first - self._begins
        if 0 <= into < self._lasts:
            await asyncio.sleep(self._lasts - into)
        return verdict()


@pytest.mark.parametrize("connections", [1, 50])
async def test_a_stall_is_felt_by_every_request_that_was_due_in_it(connections: int) -> None:
    """A closed loop of one connection would have met with one slow request of 500."""
    with StandIn(Stalling(begins=0.3, lasts=0.2)) as server:
        driven = await drive(Plan(server.url, rate=500, connections=connections, seconds=1))
    latencies = driven.recorder.whole()
    assert latencies.count == 500
    assert not driven.recorder.faults
    assert latencies.highest >= 190_000
    # A fifth of all was due in the stall, evenly: of all requests 95 % were faster than three quarters of it.
    assert latencies.percentile(95) >= 140_000
    assert latencies.percentile(85) >= 40_000


async def test_requests_leave_at_the_intended_rate() -> None:
    with StandIn(valid) as server:
        began = perf_counter()
        driven = await drive(Plan(server.url, rate=400, connections=20, seconds=0.5, warm_up=0.5))
        took = perf_counter() - began
    assert took >= 0.99
    assert len(server.seen) == 400
    assert driven.recorder.whole().count == 200, "the warm-up is not recorded"
    assert driven.recorder.outcomes == {"VALID": 200}
    assert server.connections == 20
    assert driven.reopened == 0


async def test_all_connections_are_used_in_turn() -> None:
    with StandIn(valid) as server:
        await drive(Plan(server.url, rate=200, connections=100, seconds=0.5))
        assert server.connections == 100


async def test_a_connection_is_replaced_before_the_server_ends_it() -> None:
    with StandIn(valid) as server:
        driven = await drive(Plan(server.url, rate=100, connections=100, seconds=1, idle_at_most=0.3))
    assert driven.recorder.outcomes == {"VALID": 100}
    assert driven.reopened >= 100, "in turn each would wait for a second"


async def test_every_kind_of_failure_is_counted_as_what_it_is() -> None:
    numbers = count()
    sent: Counter[str] = Counter()

    async def ill_behaved(_request: Request) -> Answer:
        kinds = {
            "VALID": verdict(),
            "SUSPENDED": verdict("SUSPENDED"),
            "HTTP 503 not_ready": answer({"code": "not_ready"}, 503),
            "unreadable: not the head of an HTTP answer": Answer(b"what?\r\n"),
            "connection lost": Answer(b"HTTP/1.1 200 OK\r\nContent-Le", hang_up=True),
        }
        kind = list(kinds)[next(numbers) % len(kinds)]
        sent[kind] += 1
        return kinds[kind]

    with StandIn(ill_behaved) as server:
        driven = await drive(Plan(server.url, rate=300, connections=30, seconds=0.5))
    told = driven.recorder.outcomes + driven.recorder.faults
    assert told == sent
    assert told.total() == 150
    assert driven.recorder.faults.total() == 90
    assert driven.reopened >= 58, "what broke is opened again, as long as the run lasts"


async def test_an_answer_that_does_not_come_is_given_up_and_counts_with_its_time() -> None:
    async def silent(_request: Request) -> Answer:
        await asyncio.sleep(30)
        return verdict()

    with StandIn(silent) as server:
        driven = await drive(Plan(server.url, rate=20, connections=2, seconds=0.5, patience=0.3))
    faults = driven.recorder.faults
    assert faults["no answer within 0.3 s"] >= 2
    assert faults.total() == 10, "none is forgotten"
    assert driven.recorder.whole().percentile(1) >= 290_000


async def test_what_could_not_be_sent_is_told() -> None:
    """One connection, answers of a second: most of what was due finds no connection."""

    async def slow(_request: Request) -> Answer:
        await asyncio.sleep(1)
        return verdict()

    with StandIn(slow) as server:
        driven = await drive(Plan(server.url, rate=100, connections=1, seconds=0.2, patience=1.5))
    assert driven.recorder.faults["never sent: no connection was free"] > 10
    assert driven.recorder.whole().count == 20


async def test_a_server_that_ends_idle_connections_is_no_fault() -> None:
    async def once(_request: Request) -> Answer:
        raw = verdict().raw.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
        return Answer(raw, hang_up=True)

    with StandIn(once) as server:
        driven = await drive(Plan(server.url, rate=100, connections=10, seconds=0.5))
    assert driven.recorder.outcomes == {"VALID": 50}
    assert not driven.recorder.faults
    assert driven.reopened >= 48


async def test_nobody_there_is_told_before_the_run_begins() -> None:
    with StandIn(valid) as server:
        url = server.url
    with pytest.raises(CannotDrive, match="takes no connection"):
        await drive(Plan(url, rate=10, connections=1, seconds=1))


async def test_only_plain_http_is_spoken() -> None:
    with pytest.raises(CannotDrive, match="plain HTTP"):
        await drive(Plan("https://127.0.0.1", rate=10, connections=1, seconds=1))
