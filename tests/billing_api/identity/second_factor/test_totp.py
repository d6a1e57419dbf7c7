"""TOTP: the test vectors of RFC 6238, the window, each step once, and how few guesses there are."""

import base64
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing_api.identity.second_factor import totp
from billing_api.identity.second_factor.totp import accepted_step, code_at, pause_after, step_of

RFC_SECRET = base64.b32encode(b"12345678901234567890").decode()
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
NOW = datetime(2026, 3, 1, 12, 0, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "code"),
    [
        (59, "287082"),
        (1111111109, "081804"),
        (1111111111, "050471"),
        (1234567890, "005924"),
        (2000000000, "279037"),
        (20000000000, "353130"),
    ],
)
def test_the_vectors_of_rfc_6238(seconds: int, code: str) -> None:
    """Appendix B, SHA-1; the vectors have eight digits, of which apps show the last six."""
    now = datetime.fromtimestamp(seconds, UTC)
    assert code_at(RFC_SECRET, step_of(now)) == code
    assert accepted_step(RFC_SECRET, code, now, after=None) == seconds // 30


@pytest.mark.parametrize(("ahead", "good"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_one_step_to_either_side_counts(ahead: int, good: bool) -> None:
    step = step_of(NOW) + ahead
    assert accepted_step(SECRET, code_at(SECRET, step), NOW, after=None) == (step if good else None)


@given(st.integers(-3, 3), st.integers(-3, 3))
def test_no_step_counts_twice_and_none_before_one_that_has_counted(used: int, offered: int) -> None:
    after, step = step_of(NOW) + used, step_of(NOW) + offered
    found = accepted_step(SECRET, code_at(SECRET, step), NOW, after=after)
    assert found == (step if abs(offered) <= 1 and offered > used else None)


@pytest.mark.parametrize("code", ["", "000000 ", "12345", "1234567", "abcdef", "١٢٣٤٥٦", "\x00" * 6])
def test_what_is_no_code_is_none_of_ours(code: str) -> None:
    assert accepted_step(SECRET, code, NOW, after=None) is None


def test_every_fifth_failure_closes_for_longer() -> None:
    pauses = {failures: pause_after(failures) for failures in range(61)}
    closed = {failures: pause for failures, pause in pauses.items() if pause is not None}
    assert list(closed) == list(range(5, 61, 5))
    minutes = [int(pause.total_seconds()) // 60 for pause in closed.values()]
    assert minutes == [15, 30, 60, 120, 240, 480, 960, 1440, 1440, 1440, 1440, 1440]
    assert pause_after(5 * 10**9) == timedelta(days=1)


def test_a_secret_has_160_bits_and_is_nobody_elses() -> None:
    secrets = {totp.new_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert all(len(base64.b32decode(secret)) == 20 for secret in secrets)


def test_the_address_is_one_that_apps_read() -> None:
    address = urlsplit(totp.enrollment_uri(SECRET, account="ada+1@example.com"))
    assert (address.scheme, address.netloc) == ("otpauth", "totp")
    assert unquote(address.path) == "/NextPanel:ada+1@example.com"
    assert parse_qs(address.query) == {"secret": [SECRET], "issuer": ["NextPanel"]}


def test_the_qr_code_is_one_svg_element_that_scales() -> None:
    picture = totp.qr_svg(totp.enrollment_uri(SECRET, account="ada@example.com"))
    root = ET.fromstring(picture)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "viewBox" in root.attrib
    assert root.attrib.keys().isdisjoint({"width", "height"})
    assert not any("script" in element.tag for element in root.iter())
