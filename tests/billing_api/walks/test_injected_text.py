"""Injection: text with a meaning in SQL, HTTP, logs, HTML or Markdown stays plain text.

It is put into every string that the document allows, and into the headers that are read. It is stored unchanged or
refused; no header of an answer contains it; the log stays one JSON object for each line.
"""

import contextlib
import io
import json
from collections.abc import Iterator
from typing import Any, Final

import httpx
import pytest
import structlog
from schemathesis import GenerationMode
from schemathesis.core import NotSet

from core.telemetry import configure_logging
from tests.billing_api.conftest import Client
from tests.billing_api.walks.conftest import Operations
from tests.support.people import Desk
from tests.support.walking import AnyCase, AnyOperation, examples, send

INJECTED: Final = {
    "SQL": "x'; DROP TABLE users; --",
    "SQL, a wildcard": "%' OR 1=1 /*",
    "a header": "x\r\nX-Injected: yes\r\n\r\n<p>",
    "a log line": 'x\n{"event": "forged", "level": "info"}',
    "a log's colors": "\x1b[2J\x1b[31mx\u2028\u202e",
    "HTML": "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>",
    "Markdown": "[x](javascript:alert(1)) ![x](http://127.0.0.1:1/x)",
    "a template": "{{7*7}}${7*7}%(x)s{0.__class__}",
    "a path": "../../../../etc/passwd",
    "NUL": "x\x00y",
}
LOOKED_AT: Final = ("User-Agent", "Idempotency-Key", "X-Request-Id", "X-Forwarded-For", "Origin", "Stripe-Signature")


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """The application's log lines, as a process in production would write them."""
    written = io.StringIO()
    with contextlib.redirect_stderr(written):
        configure_logging("walk")
    yield written
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def with_text(case: AnyCase, text: str) -> Iterator[tuple[str, AnyCase]]:
    """For each string of the call: the call with the text in it, and the string's name."""
    for part in ("query", "body"):
        sent = getattr(case, part)
        if isinstance(sent, NotSet) or not isinstance(sent, dict):
            continue
        for name, value in list(sent.items()):
            if isinstance(value, str):
                sent[name] = text
                yield name, case
                sent[name] = value


def plain(operation: AnyOperation) -> AnyCase | None:
    """The valid call with the most fields, of several, so that optional strings are tried, too."""
    cases = examples(operation.as_strategy(generation_mode=GenerationMode.POSITIVE), 6)
    return max(cases, key=lambda case: len(str(case.query)) + len(str(case.body)), default=None)


def faults(response: httpx.Response, name: str, text: str) -> list[str]:
    found = []
    if response.status_code == 500:
        found.append("a crash")
    if "x-injected" in response.headers or any("DROP TABLE" in value for value in response.headers.values()):
        found.append("a header that it made up")
    if response.content and not response.headers["content-type"].startswith(
        ("application/json", "application/problem", "application/jwk-set+json")
    ):
        found.append("an answer that a browser might show")
    if response.is_success and response.content and (said := response.json().get(name, text)) != text:
        found.append(f"stored as {said!r}")
    return found


@pytest.mark.timeout(600)
async def test_text_in_any_string_is_text(
    client: Client, desk: Desk, operations: Operations, log: io.StringIO, on_sale: None
) -> None:
    admin = await desk.staff()
    wrong, asked = [], 0
    for operation in operations:
        case = plain(operation)
        if case is None:
            continue
        for kind, text in INJECTED.items():
            for name, injected in with_text(case, text):
                response = await send(client, injected, admin)
                asked += 1
                wrong += [f"{kind} in {operation.label} {name}: {fault}" for fault in faults(response, name, text)]
    assert not wrong, "\n".join(wrong)
    assert asked > 30 * len(INJECTED), "hardly a string was found"
    lines = [json.loads(line) for line in log.getvalue().split("\n") if line]
    assert all(isinstance(line, dict) for line in lines)
    assert "forged" not in {line["event"] for line in lines}
    assert sum(line["event"] == "request" for line in lines) >= asked


@pytest.mark.timeout(600)
async def test_text_in_a_header_is_text(client: Client, desk: Desk, operations: Operations, log: io.StringIO) -> None:
    wrong = []
    customer = await desk.a_customer()
    for operation in operations:
        case = plain(operation)
        if case is None:
            continue
        for kind, text in INJECTED.items():
            headers: dict[str, Any] = dict.fromkeys(LOOKED_AT, text)
            response = await send(client, case, customer | headers)
            wrong += [f"{kind} in headers of {operation.label}: {fault}" for fault in faults(response, "", text)]
    assert not wrong, "\n".join(wrong)
    assert all(isinstance(json.loads(line), dict) for line in log.getvalue().split("\n") if line)


@pytest.mark.parametrize("text", [text for text in INJECTED.values() if "\x00" not in text])
async def test_a_name_comes_back_as_it_was_given(client: Client, desk: Desk, text: str) -> None:
    me = await desk.a_customer()
    changed = await client.patch("/api/v1/me", json={"full_name": text}, headers=me)
    if changed.status_code == 200:
        assert (await client.get("/api/v1/me", headers=me)).json()["full_name"] == text
    else:
        assert changed.json()["errors"][0]["field"] == "full_name"


@pytest.mark.parametrize("path", ["/verify-email", "/reset-password", "/confirm-email", "/undo-email-change"])
async def test_a_page_shows_a_links_token_as_text(client: Client, path: str) -> None:
    for text in INJECTED.values():
        page = await client.get(path, params={"token": text})
        assert page.status_code < 500
        assert "<script>alert" not in page.text
        assert "<img src=x" not in page.text
        assert "x-injected" not in page.headers
