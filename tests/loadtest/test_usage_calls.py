"""Usage reports for load tests: signed, each with a key of its own, in lists about few licenses."""

import json
from typing import Any

from core.crypto import signature
from loadtest.usage_calls import USAGE, UsageCalls

_KEYS = [f"NP-{number:04}-AAAA-BBBB" for number in range(50)]
_NOW = 1_800_000_000.0
_SECRET = "of the platform"


def calls(**more: Any) -> UsageCalls:
    return UsageCalls("http://127.0.0.1:8001", ("npk_1", _SECRET), _KEYS, clock=lambda: _NOW, **more)


def check(request: bytes) -> tuple[str, Any]:
    """The idempotency key and the body, after the signature has been held against them as the API does."""
    head, _, body = request.partition(b"\r\n\r\n")
    headers = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
    signed = signature.parse(headers[b"NP-Signature"])
    assert isinstance(signed, signature.Signature)
    key = headers.get(b"Idempotency-Key", b"")
    assert int(headers[b"Content-Length"]) == len(body)
    assert signature.holds(
        signed, _SECRET.encode(), method=b"POST", target=USAGE.encode(), idempotency_key=key, body=body
    )
    return key.decode(), json.loads(body)


def test_single_reports_each_have_a_key() -> None:
    endless = calls()
    sent = [check(endless.take()) for _ in range(200)]
    assert len({key for key, _ in sent}) == 200
    assert {report["action"] for _, report in sent} == {"created", "deleted"}
    assert {report["license_key"] for _, report in sent} <= set(_KEYS)


def test_a_list_is_about_few_licenses_and_its_items_have_keys() -> None:
    endless = calls(items=300, about=4)
    lists = [check(endless.take()) for _ in range(3)]
    assert [key for key, _ in lists] == [""] * 3
    items = [item for _, body in lists for item in body["items"]]
    assert len(items) == len({item["idempotency_key"] for item in items}) == 900
    for _, body in lists:
        assert len({item["license_key"] for item in body["items"]}) == 4
    assert {item["resource"] for item in items} == {"domains", "databases", "emails"}


def test_a_list_cannot_be_about_more_licenses_than_there_are() -> None:
    _, body = check(calls(items=10, about=1000).take())
    assert len(body["items"]) == 10
