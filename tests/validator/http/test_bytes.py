"""Raw bytes to the real process: in pieces, pipelined, malformed, and random. The answer is never a 500."""

import asyncio
import contextlib
import re
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.validator.stage import HOST, PATH, ApiKey, License, Projection, Running, request_bytes

VALIDATE: Final = f"POST {PATH}validate-license HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n".encode()


async def said(port: int, *pieces: bytes, half_close: bool = True) -> bytes:
    """All that the server answers to these bytes."""
    reader, writer = await asyncio.open_connection(HOST, port)
    with contextlib.suppress(ConnectionError):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        if half_close:
            writer.write_eof()
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return answer


def statuses(answer: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


@pytest.fixture(scope="module")
async def issued(projection: Projection) -> License:
    return await projection.license()


@pytest.fixture(scope="module")
async def api_key(projection: Projection) -> ApiKey:
    return await projection.api_key()


@pytest.fixture
def request_(issued: License, api_key: ApiKey) -> bytes:
    return request_bytes(api_key, "validate-license", {"license_key": issued.key, "feature": "create_database"})


async def test_dribbled_bytes_are_one_request(shared_validator: Running, request_: bytes) -> None:
    pieces = [request_[start : start + 7] for start in range(0, len(request_), 7)]
    answer = await said(shared_validator.port, *pieces)
    assert statuses(answer) == [200]
    assert b'"code":"VALID"' in answer


async def test_pipelined_requests_are_all_answered(shared_validator: Running, request_: bytes) -> None:
    answer = await said(shared_validator.port, request_ * 200)
    assert statuses(answer) == [200] * 200
    numbers = [int(number, 16) for number in re.findall(rb'"request_id":"[0-9a-f]{12}([0-9a-f]{8})"', answer)]
    assert numbers == sorted(numbers)


async def test_answers_from_redis_and_from_memory_keep_their_order(
    shared_validator: Running, projection: Projection, api_key: ApiKey
) -> None:
    """Unknown licenses wait for Redis; the known ones behind them must not overtake."""
    known = await projection.license(limits={"databases": 1000})
    stream, expected = b"", []
    for number in range(1, 30):
        issued = known if number % 3 else await projection.license(limits={"databases": number})
        stream += request_bytes(api_key, "validate-license", {"license_key": issued.key, "feature": "create_database"})
        expected.append(1000 if number % 3 else number)
    answer = await said(shared_validator.port, stream)
    assert [int(left) for left in re.findall(rb'"remaining_quota":(\d+)', answer)] == expected


async def test_a_runaway_loop_is_stopped(shared_validator: Running, projection: Projection) -> None:
    """Twenty thousand questions at once, where a license may ask six thousand a second."""
    issued = await projection.license()
    own = await projection.api_key(license_hash=issued.hash)
    many = {"items": [{"license_key": issued.key, "feature": "create_database"}] * 100}
    answer = await said(shared_validator.port, request_bytes(own, "validate-licenses", many) * 200)
    refused = statuses(answer).count(429)
    assert 0 < refused <= 140
    assert statuses(answer).count(200) == 200 - refused
    assert answer.count(b"Retry-After: 1\r\n") == refused
    assert b'"code":"too_many_requests"' in answer
    assert b'RateLimit-Policy: "license";q=6000;w=1\r\nRateLimit: "license";r=' in answer


async def test_a_chunked_body_is_signed_like_any_other(shared_validator: Running, request_: bytes) -> None:
    head, _, body = request_.partition(b"\r\n\r\n")
    head = re.sub(rb"Content-Length: \d+", b"Transfer-Encoding: chunked", head)
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:5], body[5:]))
    answer = await said(shared_validator.port, head + b"\r\n\r\n" + chunks + b"0\r\n\r\n")
    assert statuses(answer) == [200]


async def test_a_connection_ends_when_asked(shared_validator: Running, issued: License, api_key: ApiKey) -> None:
    content = {"license_key": issued.key, "feature": "create_database"}
    request = request_bytes(api_key, "validate-license", content, b"Connection: close")
    answer = await said(shared_validator.port, request, half_close=False)
    assert statuses(answer) == [200]
    assert b"Connection: close" in answer


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", [400]),
        (b"GET\r\n\r\n", [400]),
        (b"get / HTTP/1.1\r\nHost: x\r\n\r\n", [400]),
        (b"GET / HTTP/1.1\r\n\r\n", [400]),
        (b"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", [400]),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", [404]),
        (b"GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n", [404]),
        (b"GET http://[::1/ HTTP/1.1\r\nHost: x\r\n\r\n", [400]),
        (b"GET http://x/health/live HTTP/1.1\r\nHost: x\r\n\r\n", [200]),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", [404]),
        (b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", [404]),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [505]),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 9000 + b"\r\n\r\n", [431]),
        (VALIDATE + b"\r\n", [411]),
        (VALIDATE + b"Content-Length: 0\r\n\r\n", [401]),
        (VALIDATE + b"Content-Length: 70000\r\n\r\n", [413]),
        (VALIDATE + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", [400]),
        (VALIDATE + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}", [400]),
        (VALIDATE + b"Transfer-Encoding: gzip\r\n\r\n{}", [400]),
        (VALIDATE + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", [400]),
        (VALIDATE + b"Expect: a miracle\r\nContent-Length: 2\r\n\r\n{}", [417]),
        (VALIDATE + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{}", [100, 401]),
        (VALIDATE + b"NP-Signature: a\r\nNP-Signature: b\r\nContent-Length: 2\r\n\r\n{}", [400]),
        (
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost : x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
            [404, 400],
        ),
    ],
)
async def test_malformed_bytes_are_told_what_is_wrong(
    shared_validator: Running, stream: bytes, expected: list[int]
) -> None:
    answer = await said(shared_validator.port, stream)
    assert statuses(answer) == expected
    assert answer.count(b'"conclusive":true') == sum(400 <= status < 500 for status in expected)
    assert answer.count(b'"conclusive":false') == sum(status >= 500 for status in expected)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.sampled_from(
                [VALIDATE, b"\r\n", b"Content-Length: 4\r\n", b"Transfer-Encoding: chunked\r\n", b"{}", b"GET "]
            ),
            st.sampled_from([b"Connection: close\r\n", b"NP-Signature: k=a,t=1\r\n", b"2\r\n{}\r\n", b"0\r\n\r\n"]),
        ),
        max_size=10,
    )
)
async def test_nonsense_is_never_our_fault(shared_validator: Running, pieces: list[bytes]) -> None:
    answer = await said(shared_validator.port, *pieces)
    assert all(
        status in {100, 400, 401, 404, 405, 408, 411, 413, 415, 417, 431, 501, 505} for status in statuses(answer)
    )
