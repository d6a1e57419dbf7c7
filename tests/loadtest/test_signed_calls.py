"""Requests that are signed ahead are still good when they are sent."""

import json
import random

import pytest

from core.crypto import signature
from loadtest.signed_calls import FEATURES, VALIDATE, SignedCalls

_KEYS = [f"NP-{number:04}-AAAA-BBBB" for number in range(50)]
_SECRET = "of the platform"


class FakeClock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def calls(clock: FakeClock, keys: list[str] = _KEYS) -> SignedCalls:
    return SignedCalls("http://127.0.0.1:8002", ("npk_1", _SECRET), keys, clock=clock, random_numbers=random.Random(7))


def check(request: bytes, now: float) -> dict[str, str]:
    """The body, after the signature has been held against it as a validator does."""
    head, _, body = request.partition(b"\r\n\r\n")
    headers = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
    signed = signature.parse(headers[b"NP-Signature"])
    assert isinstance(signed, signature.Signature)
    assert signature.check_time(signed, now) is None
    assert int(headers[b"Content-Length"]) == len(body)
    assert signature.holds(
        signed, _SECRET.encode(), method=b"POST", target=VALIDATE.encode(), idempotency_key=b"", body=body
    )
    content: dict[str, str] = json.loads(body)
    return content


def test_each_request_is_signed_and_each_license_is_asked_about() -> None:
    clock = FakeClock()
    ready = calls(clock)
    asked = [check(ready.take(), clock.now) for _ in range(len(ready))]
    assert {content["license_key"] for content in asked} == set(_KEYS)
    assert {content["feature"] for content in asked} <= set(FEATURES)


def test_signatures_are_renewed_before_they_are_too_old() -> None:
    clock = FakeClock()
    ready = calls(clock)
    for _ in range(20 * len(ready)):
        clock.now += 1
        check(ready.take(), clock.now)


def test_renewing_is_spread_over_time() -> None:
    """A burst of signing in mid-run would delay requests that are due."""
    clock = FakeClock()
    ready = calls(clock, [f"NP-{number:04}-AAAA-BBBB" for number in range(1000)])
    before = [ready.take() for _ in range(len(ready))]
    clock.now += 100
    renewed = sum(ready.take() != old for old in before)
    assert 50 < renewed < 500


@pytest.mark.parametrize("keys", [_KEYS[:1], _KEYS[:3]])
def test_few_licenses_are_enough(keys: list[str]) -> None:
    clock = FakeClock()
    ready = calls(clock, keys)
    assert {check(ready.take(), clock.now)["license_key"] for _ in range(len(ready))} == set(keys)
