"""One error contract: each fault is sent to both doors, and both answer it alike (core/problems.py)."""

import json
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import pytest

from core.clock import unix_time
from core.problems import PAGES, PROBLEMS
from tests.contract.doors import Door

Sent = Callable[[Door], bytes]


class Fault(NamedTuple):
    name: str
    status: int
    code: str
    sent: Sent
    check: str | None = None
    """Of a signature."""


def signed(door: Door, *more: tuple[str, str], **changes: Any) -> tuple[tuple[str, str], ...]:
    return (*door.signed(**changes).items(), *more)


def without(door: Door, *names: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in door.signed().items() if name not in names)


def changed(door: Door, name: str, value: str) -> bytes:
    return door.request(*(door.signed() | {name: value}).items())


def twice(name: str) -> Sent:
    def sent(door: Door) -> bytes:
        headers = door.signed()
        return door.request(*headers.items(), (name, headers[name]))

    return sent


def bad_body(body: bytes) -> Sent:
    return lambda door: door.request(*signed(door, body=body), body=body)


def bare(method: str, target: str | None = None) -> Sent:
    return lambda door: door.request(method=method, target=target, body=b"")


BAD: Final = "invalid_signature"
FAULTS: Final = (
    Fault("no signature", 401, BAD, lambda door: door.request(*without(door, "NP-Signature")), "missing"),
    Fault("no such form", 401, BAD, lambda door: changed(door, "NP-Signature", "k=?"), "malformed"),
    Fault("unknown key", 401, BAD, lambda door: door.request(*signed(door, key_id="npk_0")), "unknown_key"),
    Fault("old", 401, BAD, lambda door: door.request(*signed(door, now=unix_time() - 400)), "too_old"),
    Fault("early", 401, BAD, lambda door: door.request(*signed(door, now=unix_time() + 90)), "in_future"),
    Fault("wrong secret", 401, BAD, lambda door: door.request(*signed(door, secret="x")), "mismatch"),
    Fault("other key signed", 401, BAD, lambda door: changed(door, "Idempotency-Key", "other"), "mismatch"),
    Fault("other body signed", 401, BAD, lambda door: door.request(*signed(door, body=b"{}")), "mismatch"),
    Fault("two signatures", 400, "bad_request", twice("NP-Signature")),
    Fault("two keys", 400, "bad_request", twice("Idempotency-Key")),
    Fault("two media types", 400, "bad_request", twice("Content-Type")),
    Fault(
        "no permission",
        403,
        "permission_missing",
        lambda door: door.request(*signed(door, key_id=door.weak_key_id)),
    ),
    Fault(
        "another network",
        403,
        "network_not_allowed",
        lambda door: door.request(*signed(door, key_id=door.distant_key_id)),
    ),
    Fault("no JSON", 400, "invalid_input", bad_body(b"{")),
    Fault("no UTF-8", 400, "invalid_input", bad_body(b'{"license_key":"\xff"}')),
    Fault("no fields", 400, "invalid_input", bad_body(b"{}")),
    Fault("a list", 400, "invalid_input", bad_body(b"[]")),
    Fault("no route", 404, "route_not_found", bare("POST", "/api/v1/nothing")),
    Fault("no route outside", 404, "route_not_found", bare("GET", "/nothing")),
    Fault("no such problem", 404, "route_not_found", bare("GET", "/problems/none")),
    Fault("other method", 405, "method_not_allowed", bare("GET")),
    Fault("other method of a page", 405, "method_not_allowed", bare("POST", "/problems/busy")),
    Fault("a form", 415, "unsupported_media_type", lambda door: changed(door, "Content-Type", "text/plain")),
    Fault(
        "no length",
        411,
        "length_required",
        lambda door: door.request(*signed(door, body=b""), body=b"").replace(b"Content-Length: 0\r\n", b""),
    ),
)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_a_fault_is_answered_alike_at_both_doors(doors: tuple[Door, Door], fault: Fault) -> None:
    told = []
    for door in doors:
        answer = await door.said(fault.sent(door))
        assert answer.headers["content-type"] == "application/problem+json", door.name
        problem = answer.json()
        assert (answer.status, problem["status"], problem["code"]) == (fault.status, fault.status, fault.code), door
        assert problem["type"] == f"/problems/{fault.code}"
        assert problem.get("check") == fault.check
        if fault.check is not None:
            assert abs(problem["server_time"] - unix_time()) < 60
        assert problem.pop("request_id")
        told.append(
            (
                {name: value for name, value in problem.items() if name not in {"detail", "server_time", "errors"}},
                sorted(problem),
                {name: answer.headers.get(name) for name in ("www-authenticate", "retry-after")},
            )
        )
    assert told[0] == told[1]


async def test_every_problem_has_its_page_at_both_doors(door: Door) -> None:
    for code, text in PAGES.items():
        answer = await door.said(door.request(method="GET", target=f"/problems/{code}", body=b""))
        assert (answer.status, answer.content) == (200, text), code
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert PROBLEMS[code].do.encode() in answer.content


async def test_the_other_method_is_named_alike(doors: tuple[Door, Door]) -> None:
    for target, allowed in ((None, {"POST"}), ("/problems/busy", {"GET", "HEAD"})):
        for door in doors:
            answer = await door.said(door.request(method="PATCH", target=target, body=b""))
            assert set(answer.headers["allow"].split(", ")) - {"OPTIONS"} == allowed, door.name


@pytest.mark.parametrize("authority", ["http://x", "HTTP://elsewhere.example:8080", "https://x"])
async def test_the_absolute_form_of_a_target_is_taken_alike(door: Door, authority: str) -> None:
    """RFC 9112, 3.2.2: a server must accept it. What is signed is path and query, whatever stands before them."""
    for _ in range(2):  # the second time the head is known
        answer = await door.said(door.request(*signed(door), target=authority + door.path))
        assert answer.status == 200, answer
    health = await door.said(door.request(method="GET", target=f"{authority}/health/live", body=b""))
    assert health.status == 200


@pytest.mark.parametrize("query", ["nonsense=1", "license_key=x", "=", "%6Eonsense", "a=1&b=2", "limit=5"])
async def test_a_query_is_refused_alike(doors: tuple[Door, Door], query: str) -> None:
    """Signed or not: none of their calls has one."""
    told = []
    for door in doors:
        target = f"{door.path}?{query}"
        for headers in (signed(door, target=target), ()):
            answer = await door.said(door.request(*headers, target=target))
            problem = answer.json()
            assert (answer.status, problem["code"]) == (400, "invalid_input"), door.name
            told.append((problem["errors"], problem["detail"]))
    assert told[0] == told[1] == told[2] == told[3]
    assert {one["code"] for one in told[0][0]} == {"unknown"}


@pytest.mark.parametrize("mark", ["?", "?&", "?&&"])
async def test_a_query_without_names_is_none(door: Door, mark: str) -> None:
    """A lone question mark is not seen by every server; so it is not signed either."""
    target = door.path + mark
    signed_for = door.path if mark == "?" else target
    answer = await door.said(door.request(*signed(door, target=signed_for), target=target))
    assert answer.status == 200, answer


@pytest.mark.parametrize(
    ("changes", "faults"),
    [
        ({"license_key": 5, "more": 1}, {("license_key", "wrong_type"), ("more", "unknown")}),
        ({"license_key": ""}, {("license_key", "too_short")}),
    ],
)
async def test_fields_are_told_alike(
    doors: tuple[Door, Door], changes: dict[str, Any], faults: set[tuple[str, str]]
) -> None:
    for door in doors:
        body = json.dumps({**door.content, **changes}).encode()
        problem = (await door.said(door.request(*signed(door, body=body), body=body))).json()
        assert {(one["field"], one["code"]) for one in problem["errors"]} == faults
    bare = [(await door.said(door.request(*signed(door, body=b"{}"), body=b"{}"))).json()["errors"] for door in doors]
    for errors in bare:
        assert {"license_key"} <= {one["field"] for one in errors if one["code"] == "missing"}
        assert len(errors) > 1


@pytest.mark.parametrize("target", ["/problems/busy?x=1", "/health/live?x=1", "/schema/openapi.json?x=1"])
async def test_pages_take_a_query(door: Door, target: str) -> None:
    assert (await door.said(door.request(method="GET", target=target, body=b""))).status == 200
