"""Reading one HTTP answer, however it was cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.answer import Answer, BadAnswer, read, verdict_code

_BODY = b'{"valid":false,"remaining_quota":0,"code":"SUSPENDED"}'
_HEAD = b"HTTP/1.1 200 OK\r\nDate: now\r\ncontent-length: %d\r\nX: y\r\n\r\n" % len(_BODY)


@given(st.integers(0, len(_HEAD + _BODY) - 1))
def test_nothing_is_read_before_the_end_has_come(cut: int) -> None:
    assert read((_HEAD + _BODY)[:cut]) is None


def test_status_body_and_code_are_read() -> None:
    answer = read(_HEAD + _BODY)
    assert answer == Answer(200, _BODY, closing=False)
    assert verdict_code(_BODY) == "SUSPENDED"


def test_a_server_that_ends_the_connection_is_understood() -> None:
    answer = read(b"HTTP/1.1 503 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    assert answer == Answer(503, b"", closing=True)


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        _HEAD + _BODY + b"more",
        b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 20_000,
    ],
)
def test_what_is_no_answer_is_refused(data: bytes) -> None:
    with pytest.raises(BadAnswer):
        read(data)


def test_a_body_without_a_code_says_so() -> None:
    assert verdict_code(b"{}") == "no code"
