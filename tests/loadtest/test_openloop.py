"""`python -m loadtest.openloop` against a server, in processes of its own."""

import os
from itertools import pairwise
from pathlib import Path

import pytest

from core.crypto import signature
from loadtest import results
from loadtest.driver import Plan
from loadtest.driving import share
from tests.loadtest.command import PLATFORM_KEY, describe_stack, run
from tests.loadtest.stand_in import Answer, Request, StandIn, answer, verdict

_KEYS = [f"NP-{number:04}-AAAA-BBBB" for number in range(20)]


async def checking(request: Request) -> Answer:
    signed = signature.parse(request.headers.get("np-signature", "").encode())
    if isinstance(signed, signature.SignatureDefect) or not signature.holds(
        signed,
        PLATFORM_KEY["secret"].encode(),
        method=b"POST",
        target=request.target.encode(),
        idempotency_key=b"",
        body=request.body,
    ):
        return answer({"code": "invalid_signature"}, 401)
    return verdict()


@pytest.mark.parametrize("processes", [1, 2])
def test_a_run_on_the_stack_that_run_json_names(tmp_path: Path, processes: int) -> None:
    out = tmp_path / "result.json"
    with StandIn(checking) as server:
        describe_stack(tmp_path, url=server.url, license_keys=_KEYS)
        flags = ("--rate", "200", "--connections", "20", "--seconds", "1", "--warm-up", "0.5")
        more = ("--processes", str(processes), "--pid", str(os.getpid()), "--out", str(out))
        done = run("openloop", *flags, *more, data=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    result = results.read(out)
    assert result.requests == 200
    assert len(server.seen) == 300
    assert server.connections == 20
    assert result.outcomes == {"VALID": 200}
    assert result.holds
    assert 150 < float(result.facts["answered per second"]) <= 200
    assert float(result.facts["server CPU µs per request"]) > 0
    assert result.percentile(99) is not None
    assert sum(moment.requests for moment in result.moments) == 200
    assert "latency p99" in done.stdout


def test_a_fault_or_a_broken_p99_ends_with_1(tmp_path: Path) -> None:
    async def failing(_request: Request) -> Answer:
        return answer({"code": "not_ready"}, 503)

    keys = tmp_path / "keys"
    keys.write_text("\n".join(_KEYS))
    flags = ("--rate", "50", "--connections", "2", "--seconds", "0.4", "--warm-up", "0", "--keys", str(keys))
    with StandIn(failing) as server:
        faulty = run("openloop", *flags, "--url", server.url, "--api-key", "a:b", data=tmp_path)
    assert faulty.returncode == 1
    assert "HTTP 503 not_ready" in faulty.stdout
    with StandIn(lambda _request: _valid()) as server:
        slow = run("openloop", *flags, "--url", server.url, "--api-key", "a:b", "--p99-ms", "0.001", data=tmp_path)
    assert slow.returncode == 1
    assert "BROKEN  p99 in ms" in slow.stdout


def test_a_warm_run_asks_again_what_it_has_asked_of_each_license_in_play(tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    with StandIn(checking) as server:
        describe_stack(tmp_path, url=server.url, license_keys=_KEYS)
        flags = ("--rate", "200", "--connections", "4", "--seconds", "1", "--warm-up", "0")
        more = ("--licenses", "12", "--spread", "zipf", "--warm", "1", "--pid", str(os.getpid()), "--out", str(out))
        done = run("openloop", *flags, *more, data=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    before, during = server.seen[:12], server.seen[12:]
    assert [request.json["license_key"] for request in before] == _KEYS[:12]
    assert {request.body for request in during} <= {request.body for request in before}
    (point,) = results.read(out).points
    assert (point.licenses, point.requests) == (12, 200)
    assert point.micros["server"] > 0
    assert point.resident_mb["server"] > 1


def test_an_answer_that_says_when_to_come_again_is_told_apart_from_faults(tmp_path: Path) -> None:
    """Nor does it spoil the pass before the run: what is put off there is sent again."""
    waiting = iter([True] * 3)

    async def busy(_request: Request) -> Answer:
        return answer({"code": "busy"}, 503, {"Retry-After": "1"}) if next(waiting, False) else verdict()

    keys = tmp_path / "keys"
    keys.write_text("\n".join(_KEYS))
    out = tmp_path / "result.json"
    flags = ("--rate", "50", "--connections", "2", "--seconds", "0.4", "--warm-up", "0", "--keys", str(keys))
    with StandIn(busy) as server:
        reach = ("--url", server.url, "--api-key", "a:b", "--out", str(out))
        strict = run("openloop", *flags, *reach, data=tmp_path)
        waiting = iter([True] * 3)
        allowed = run("openloop", *flags, *reach, "--put-off", "3", data=tmp_path)
        waiting = iter([True] * 3)
        warm = run("openloop", *flags, *reach, "--warm", "1", data=tmp_path)
    assert "BROKEN  requests that were put off: 3, at most 0" in strict.stdout
    assert strict.returncode == 1
    assert allowed.returncode == 0, allowed.stdout
    assert warm.returncode == 0, warm.stdout
    assert results.read(out).put_off == {}


def test_more_licenses_than_there_are_keys_are_refused(tmp_path: Path) -> None:
    with StandIn(checking) as server:
        describe_stack(tmp_path, url=server.url, license_keys=_KEYS)
        refused = run("openloop", "--licenses", "21", data=tmp_path)
    assert refused.returncode == 1
    assert "there are 20 license keys, too few" in refused.stderr


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ((), "make up"),
        (("--rate", "-1"), "no number above 0"),
        (("--connections", "many"), "no whole number"),
    ],
)
def test_what_cannot_be_run_is_told(tmp_path: Path, flags: tuple[str, ...], said: str) -> None:
    keys = tmp_path / "keys"
    keys.write_text("\n".join(_KEYS))
    refused = run("openloop", "--keys", str(keys), *flags, data=tmp_path)
    assert refused.returncode != 0
    assert said in refused.stderr


def test_nobody_listens(tmp_path: Path) -> None:
    with StandIn(checking) as server:
        describe_stack(tmp_path, url=server.url, license_keys=_KEYS)
    refused = run("openloop", "--connections", "2", data=tmp_path)
    assert refused.returncode == 1
    assert "takes no connection" in refused.stderr


def test_processes_share_rate_and_connections_and_take_turns() -> None:
    shared = share(Plan("http://127.0.0.1:1", rate=900, connections=10, seconds=1), 3)
    assert sum(plan.rate for plan in shared) == pytest.approx(900)
    assert sum(plan.connections for plan in shared) == 9
    instants = sorted((number + plan.phase) / plan.rate for plan in shared for number in range(3))
    gaps = {round((after - before) * 900, 6) for before, after in pairwise(instants)}
    assert gaps == {1.0}


async def _valid() -> Answer:
    return verdict()
