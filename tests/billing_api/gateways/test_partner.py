"""HTTP client of partners: an answer means done, retryable or refused."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from billing_api.gateways.http_client import (
    PartnerClient,
    PartnerRefused,
    Retryable,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
async def client(partner: Any) -> AsyncIterator[PartnerClient]:
    client = PartnerClient("The partner", partner.url, lambda: NOW, timeout_seconds=10)
    yield client
    await client.close()


async def test_a_success_is_its_body(partner: Any, client: PartnerClient) -> None:
    partner.says(202, '{"key":"k"}')
    assert await client.post("/messages", {}) == b'{"key":"k"}'


@pytest.mark.parametrize("status", [302, 401, 408, 425, 429, 500, 502, 503, 504])
async def test_what_refuses_nothing_may_be_asked_again(partner: Any, client: PartnerClient, status: int) -> None:
    partner.says(status)
    with pytest.raises(Retryable) as caught:
        await client.post("/messages", {})
    assert f"The partner answered {status}" in caught.value.detail
    assert caught.value.retry_after is None


@pytest.mark.parametrize("status", [400, 403, 404, 409, 413, 422])
async def test_a_plain_no_is_final(partner: Any, client: PartnerClient, status: int) -> None:
    partner.says(
        status, '{"detail":"the address is not one","code":"invalid"}', Content_Type="application/problem+json"
    )
    with pytest.raises(PartnerRefused) as caught:
        await client.post("/messages", {})
    assert caught.value.detail == f"The partner answered {status}: the address is not one"
    assert caught.value.answered == status


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("7", 7),
        ("999999", 3600),
        ("9" * 5000, 3600),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90),
        (format_datetime(NOW - timedelta(hours=1), usegmt=True), 0),
        ("soon", None),
        ("-5", None),
    ],
)
async def test_it_waits_as_long_as_it_is_asked_to(
    partner: Any, client: PartnerClient, said: str, seconds: int | None
) -> None:
    partner.says(429, Retry_After=said)
    with pytest.raises(Retryable) as caught:
        await client.post("/messages", {})
    assert caught.value.retry_after == seconds


async def test_hanging_up_is_no_answer(partner: Any, client: PartnerClient) -> None:
    with pytest.raises(Retryable, match="did not answer"):
        await client.post("/messages", {})


async def test_nobody_there_is_no_answer() -> None:
    client = PartnerClient("The partner", "http://127.0.0.1:1", lambda: NOW, timeout_seconds=10)
    with pytest.raises(Retryable, match="did not answer"):
        await client.post("/messages", {})
    await client.close()


async def test_a_trickle_is_no_answer(partner: Any) -> None:
    """Each single read is in time, but the whole answer never is."""
    client = PartnerClient("The partner", partner.url, lambda: NOW, timeout_seconds=0.2)
    partner.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
    partner.endless = True
    with pytest.raises(Retryable, match=r"did not answer \(TimeoutError\)"):
        await client.post("/messages", {})
    await client.close()


async def test_an_answer_that_is_nested_too_deeply_is_a_no_as_well(partner: Any, client: PartnerClient) -> None:
    partner.says(422, "[" * 100_000)
    with pytest.raises(PartnerRefused) as caught:
        await client.post("/messages", {})
    assert caught.value.answered == 422


async def test_a_wall_of_text_is_cut(partner: Any, client: PartnerClient) -> None:
    partner.says(400, "x" * 100_000)
    with pytest.raises(PartnerRefused) as caught:
        await client.post("/messages", {})
    assert len(caught.value.detail) < 400
