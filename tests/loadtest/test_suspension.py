"""`python -m loadtest.suspension`: the time from a suspension to its refusal, on a server that takes its time."""

import asyncio
from pathlib import Path
from typing import Any

from loadtest import results
from tests.loadtest.command import describe_stack, run
from tests.loadtest.stand_in import Answer, Request, StandIn, answer

_KEYS = [f"NP-{number:04}-AAAA-BBBB" for number in range(20)]
_FLAGS = ("--rate", "100", "--connections", "5", "--suspensions", "3", "--pace", "0.4", "--probes", "3")


class Stack:
    """The API answers a suspension after `answers_after`, the validator knows of it `known_after` its coming."""

    def __init__(self, *, answers_after: float, known_after: float) -> None:
        self._answers_after, self._known_after = answers_after, known_after
        self._suspended: set[str] = set()
        self.forgetful = False

    async def __call__(self, request: Request) -> Answer:
        content: dict[str, Any] = request.json
        *_, license_id, call = request.target.split("/")
        match call:
            case "login":
                return answer({"access_token": "a token"})
            case "find-by-key":
                return answer({"id": content["license_key"], "status": "active"})
            case "suspend":
                asyncio.get_running_loop().call_later(self._known_after, self._suspended.add, license_id)
                await asyncio.sleep(self._answers_after)
                return answer({})
            case "resume":
                self._suspended.discard(license_id)
                return answer({})
            case _:
                return answer(self._verdict(content["license_key"]))

    def _verdict(self, license_key: str) -> dict[str, Any]:
        code = "SUSPENDED" if license_key in self._suspended else "VALID"
        if self.forgetful:
            self._suspended.discard(license_key)
        return {"valid": code == "VALID", "remaining_quota": 1, "code": code}


def measure(tmp_path: Path, stack: Stack, *flags: str) -> tuple[int, results.Result]:
    out = tmp_path / "result.json"
    with StandIn(stack) as server:
        describe_stack(tmp_path, url=server.url, license_keys=_KEYS)
        done = run("suspension", *_FLAGS, "--warm-up", "0.2", "--out", str(out), *flags, data=tmp_path)
    assert out.exists(), done.stderr
    return done.returncode, results.read(out)


def test_both_times_are_told(tmp_path: Path) -> None:
    code, result = measure(tmp_path, Stack(answers_after=0.03, known_after=0.1), "--p99-ms", "20000")
    assert code == 0, result.checks
    assert result.requests == 3
    assert float(result.facts["from sending p50 ms"]) >= 100
    assert float(result.facts["from the API's answer p50 ms"]) >= 20
    assert float(result.facts["from sending p50 ms"]) > float(result.facts["from the API's answer p50 ms"])
    assert result.outcomes["VALID"] >= 100, "the load went on meanwhile"


def test_a_refusal_before_the_apis_answer_is_no_negative_time(tmp_path: Path) -> None:
    _, result = measure(tmp_path, Stack(answers_after=0.3, known_after=0.0), "--p99-ms", "20000")
    assert result.facts["from the API's answer p50 ms"] == 0


def test_a_promise_that_is_broken_ends_with_1(tmp_path: Path) -> None:
    code, result = measure(tmp_path, Stack(answers_after=0.0, known_after=0.1), "--p99-ms", "50")
    assert code == 1
    assert [check.what for check in result.checks if not check.holds] == [
        "p99 in ms, from sending to refused everywhere"
    ]


def test_one_connection_that_hears_nothing_of_it_fails_the_run(tmp_path: Path) -> None:
    stack = Stack(answers_after=0.0, known_after=0.0)
    stack.forgetful = True
    with StandIn(stack) as server:
        describe_stack(tmp_path, url=server.url, license_keys=_KEYS)
        done = run("suspension", *_FLAGS, "--patience", "1", data=tmp_path)
    assert done.returncode == 1
    assert "has not said SUSPENDED" in done.stderr
