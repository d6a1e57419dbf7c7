"""`python -m loadtest.run`: a scenario against a server that knows the calls and gives odd answers."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from time import monotonic
from typing import Any, Final

import pytest

from loadtest import results
from loadtest.results import Result
from tests.loadtest.command import describe_stack, run
from tests.loadtest.stand_in import Answer, Request, StandIn, answer

_KEYS = [f"NP-{number:04}-AAAA-BBB{symbol}" for number, symbol in enumerate("JKMNPQRSTV")]


_LONG: Final = ("--users", "20", "--seconds", "4")
_SHORT: Final = ("--users", "6", "--seconds", "1.5")
_ALWAYS: Final[dict[str, dict[str, Any]]] = {
    "explain": {"rules": []},
    "reserve": {"granted": True, "reservation_id": "r1", "remaining_quota": 2},
    "release": {"released": True},
    "usage": {"success": True, "quota_remaining": 2},
}


def verdict_on(item: dict[str, Any]) -> dict[str, Any]:
    code = "VALID"
    if item["license_key"] not in _KEYS:
        code = "NOT_FOUND"
    elif item["feature"] == "fly_to_the_moon":
        code = "FEATURE_NOT_INCLUDED"
    return {"valid": code == "VALID", "remaining_quota": 3, "code": code}


class Nextpanel:
    """Both services as a panel sees them; `odd` answers in their place where it wants to."""

    def __init__(self, odd: Callable[[str, dict[str, Any]], Answer | None] = lambda _call, _content: None) -> None:
        self._odd = odd
        self.reports: dict[str, dict[str, Any]] = {}

    async def __call__(self, request: Request) -> Answer:
        call, content = request.target.rpartition("/")[2], request.json
        odd = self._odd(call, content)
        if odd is not None:
            return odd
        if call == "usage":
            self.reports[request.headers["idempotency-key"]] = content
        if call == "validate-licenses":
            return answer({"items": [verdict_on(item) for item in content["items"]]})
        if call == "validate-license":
            return answer(verdict_on(content))
        return answer(_ALWAYS[call])


def play(tmp_path: Path, handler: Callable[[Request], Awaitable[Answer]], *flags: str) -> tuple[int, Result, str]:
    out = tmp_path / "result.json"
    with StandIn(handler) as server:
        describe_stack(tmp_path, url=server.url, license_keys=_KEYS)
        always = ("--scenario", "fleet", "--out", str(out))
        done = run("run", *always, *(flags or _LONG), data=tmp_path)
    assert out.exists(), done.stderr
    return done.returncode, results.read(out), done.stdout


def test_a_fleet_plays_all_its_calls(tmp_path: Path) -> None:
    nextpanel = Nextpanel()
    code, result, _ = play(tmp_path, nextpanel, *_LONG, "--p99-ms", "30000")
    assert code == 0, result.faults
    called = {row.name.rpartition("/")[2] for row in result.rows}
    assert {"validate-license", "validate-licenses", "reserve", "usage"} <= called
    assert result.requests > 50
    assert result.outcomes.keys() == {"HTTP 200"}
    actions = {report["action"] for report in nextpanel.reports.values()}
    assert actions <= {"created", "deleted", "set"}
    held = [report for report in nextpanel.reports.values() if report["action"] == "created"]
    assert all(report["reservation_id"] == "r1" for report in held)


def test_tags_choose_what_is_played(tmp_path: Path) -> None:
    code, result, _ = play(tmp_path, Nextpanel(), *_SHORT, "--tags", "reserve")
    assert code == 0
    assert {row.name.rpartition("/")[2] for row in result.rows} <= {"reserve", "release", "usage"}


def test_a_p99_that_was_asked_for_is_held_against_the_run(tmp_path: Path) -> None:
    code, result, said = play(tmp_path, Nextpanel(), *_SHORT, "--p99-ms", "0.01")
    assert code == 1
    assert not result.faults
    assert "BROKEN  p99 of all calls" in said


def unavailable(call: str, _content: dict[str, Any]) -> Answer | None:
    return answer({"code": "not_ready"}, 503) if call == "reserve" else None


def test_a_panel_that_is_put_off_comes_again_when_it_was_told_to(tmp_path: Path) -> None:
    """As in the minute after a loss of Redis, when nothing can be reserved."""
    asked: list[tuple[float, str]] = []

    def recovering(call: str, content: dict[str, Any]) -> Answer | None:
        if call != "reserve":
            return None
        asked.append((monotonic(), content["license_key"]))
        return answer({"code": "not_ready"}, 503, {"Retry-After": "1"}) if len(asked) == 1 else None

    flags = ("--users", "1", "--seconds", "4", "--tags", "reserve")
    code, result, said = play(tmp_path, Nextpanel(recovering), *flags)
    assert code == 0, result.faults
    assert sum(result.put_off.values()) == 1
    assert "503" not in str(result.outcomes)
    assert "put off" in said
    (first, key), (second, again), *_ = asked
    assert second - first >= 1.0
    assert key == again


def test_a_run_does_not_wait_for_a_panel_that_is_put_off_beyond_its_end(tmp_path: Path) -> None:
    def closed(call: str, _content: dict[str, Any]) -> Answer | None:
        return answer({"code": "not_ready"}, 503, {"Retry-After": "60"}) if call == "reserve" else None

    code, result, _ = play(tmp_path, Nextpanel(closed), *_SHORT, "--tags", "reserve")
    assert code == 0, result.faults
    assert sum(result.put_off.values()) == result.requests > 0


def contradictory(call: str, _content: dict[str, Any]) -> Answer | None:
    return answer({"valid": True, "code": "SUSPENDED"}) if call == "validate-license" else None


def credulous(call: str, content: dict[str, Any]) -> Answer | None:
    known = {**content, "license_key": _KEYS[0]}
    return answer(verdict_on(known)) if call == "validate-license" else None


def hanging_up(call: str, _content: dict[str, Any]) -> Answer | None:
    return Answer(b"", hang_up=True) if call == "usage" else None


def incomplete(call: str, _content: dict[str, Any]) -> Answer | None:
    return answer({}) if call == "reserve" else None


@pytest.mark.parametrize(
    ("odd", "tag", "fault"),
    [
        (unavailable, "reserve", "HTTP 503 not_ready"),
        (contradictory, "validate", "valid=True and SUSPENDED"),
        (credulous, "typing", "where only NOT_FOUND can be true"),
        (hanging_up, "usage", "no answer"),
        (incomplete, "reserve", "KeyError: 'granted'"),
    ],
)
def test_odd_answers_are_faults(tmp_path: Path, odd: Any, tag: str, fault: str) -> None:
    code, result, _ = play(tmp_path, Nextpanel(odd), *_SHORT, "--tags", tag)
    assert code == 1
    assert any(fault in found for found in result.faults), result.faults


def test_nothing_seeded_is_told(tmp_path: Path) -> None:
    refused = run("run", data=tmp_path)
    assert refused.returncode == 1
    assert "python -m loadtest.seed" in refused.stderr
