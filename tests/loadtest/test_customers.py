"""`python -m loadtest.customers`: signed-in customers ask for their pages, each with a token of its own."""

import random
from collections import Counter
from pathlib import Path

from loadtest import results
from loadtest.customer_calls import CustomerCalls, SignedIn
from loadtest.seed_files import SeedFiles
from tests.loadtest.command import describe_stack, run
from tests.loadtest.stand_in import Answer, Request, StandIn, answer

_PEOPLE = [SignedIn(f"license-{number}", f"token-{number}") for number in range(50)]
_FLAGS = ("--rate", "200", "--connections", "20", "--seconds", "1", "--warm-up", "0.5")


async def serving(request: Request) -> Answer:
    if request.headers.get("authorization", "") not in {f"Bearer {one.access_token}" for one in _PEOPLE}:
        return answer({"code": "unauthenticated"}, 401)
    return answer({"items": []})


def test_the_pages_are_asked_for_in_their_shares() -> None:
    calls = CustomerCalls("http://127.0.0.1:8001", _PEOPLE, random_numbers=random.Random(7))
    asked = Counter(b" ".join(calls.take().split(b" ", 2)[:2]).decode().split("?")[0] for _ in range(10_000))
    usage = sum(count for target, count in asked.items() if target.endswith("/usage"))
    shares = {
        "licenses": asked["GET /api/v1/licenses"],
        "usage": usage,
        "me": asked["GET /api/v1/me"],
        "overview": asked["GET /api/v1/overview"],
        "invoices": asked["GET /api/v1/invoices"],
        "change": asked["PATCH /api/v1/me"],
    }
    wanted = {"licenses": 40, "usage": 20, "me": 15, "overview": 15, "invoices": 5, "change": 5}
    assert sum(shares.values()) == 10_000
    assert all(abs(shares[name] / 100 - share) < 2 for name, share in wanted.items()), shares


def test_a_run_on_the_stack_that_run_json_names(tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    with StandIn(serving) as server:
        describe_stack(tmp_path, url=server.url, license_keys=[])
        SeedFiles(tmp_path).write_signed_in(_PEOPLE)
        done = run("customers", *_FLAGS, "--out", str(out), data=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    result = results.read(out)
    assert (result.requests, result.outcomes) == (200, {"answered": 200})
    assert result.settings["customers"] == 50
    assert {request.headers["authorization"] for request in server.seen} <= {
        f"Bearer {one.access_token}" for one in _PEOPLE
    }
    assert len({request.headers["authorization"] for request in server.seen}) > 40


def test_a_refusal_ends_with_1_and_is_told(tmp_path: Path) -> None:
    async def refusing(_request: Request) -> Answer:
        return answer({"code": "too_many_requests"}, 429)

    with StandIn(refusing) as server:
        describe_stack(tmp_path, url=server.url, license_keys=[])
        SeedFiles(tmp_path).write_signed_in(_PEOPLE)
        done = run("customers", *_FLAGS, "--out", str(tmp_path / "result.json"), data=tmp_path)
    assert done.returncode == 1
    assert "HTTP 429 too_many_requests" in done.stdout


def test_without_customers_it_says_how_to_make_them(tmp_path: Path) -> None:
    describe_stack(tmp_path, url="http://127.0.0.1:1", license_keys=[])
    done = run("customers", data=tmp_path)
    assert (done.returncode, "make seed CUSTOMERS=10000" in done.stderr) == (1, True)
