"""Log lines: each names its process and, during a request, the request."""

import json

import pytest
import structlog

from core.telemetry import configure_logging
from tests.billing_api.conftest import Client


async def test_a_requests_line_names_process_and_request(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("billing_api")
    try:
        for request_id in ("first-request", "second-request"):
            await client.get("/api/v1/nothing-here", headers={"X-Request-Id": request_id})
            await client.get("/api/v1/licenses", headers={"X-Request-Id": request_id})
    finally:
        structlog.reset_defaults()
        structlog.contextvars.clear_contextvars()
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    told = [(line["process"], line["request_id"], line["path"]) for line in lines if line["event"] == "request"]
    assert told == [
        ("billing_api", "first-request", "/api/v1/licenses"),
        ("billing_api", "second-request", "/api/v1/licenses"),
    ]
