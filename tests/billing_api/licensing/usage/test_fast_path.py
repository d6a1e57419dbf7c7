"""Fast path: it answers like the framework, and passes to it every request that is not plain or fails.

A request with `Origin` is answered by the framework (fast_path.py), so each request can be sent in both ways.
"""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from litestar import Litestar
from prometheus_client import REGISTRY
from sqlalchemy import select

from billing_api.licensing.usage.fast_path import (
    FAILURE,
    PATH,
    FastPath,
)
from billing_api.server.app import MAX_BODY_BYTES
from billing_api.server.body_timeout import BodyTimeouts, BrokenBody
from core.clock import unix_time
from core.crypto.signature import HEADER, Verifier, body_digest, sign
from core.errors import SignatureFault
from db.models.licensing import LicenseType
from db.models.usage import UsageEvent
from db.unit_of_work import Database
from tests.billing_api.conftest import Client
from tests.billing_api.licensing.usage.test_usage import SECRET, an_api_key
from tests.support.people import Desk

Message = dict[str, Any]


class Panel:
    """Signs reports about one starter license, and sends them in either way."""

    def __init__(self, client: Client, key_id: str, license_key: str) -> None:
        self.client = client
        self.key_id = key_id
        self.report = {"license_key": license_key, "resource": "databases", "action": "created", "count": 1}

    def headers(self, body: bytes, idempotency_key: str, **changes: Any) -> dict[str, str]:
        facts: dict[str, Any] = {"method": "POST", "target": PATH, "now": unix_time()} | changes
        signature = sign(self.key_id, SECRET, body=body, idempotency_key=idempotency_key, **facts)
        return {HEADER: signature, "Idempotency-Key": idempotency_key}

    async def send(self, body: bytes, headers: dict[str, str]) -> tuple[int, dict[str, str], dict[str, Any]]:
        answer = await self.client.post(PATH, content=body, headers=headers)
        content = answer.json()
        if answer.status_code != 200:
            assert content.pop("request_id") == answer.headers["x-request-id"]
        told = {name: value for name, value in answer.headers.items() if name not in {"x-request-id", "content-length"}}
        assert int(answer.headers["content-length"]) == len(answer.content)
        return answer.status_code, told, content

    async def send_both_ways(self, body: bytes, headers: dict[str, str]) -> int:
        """The status; everything else is the same, too."""
        plain = await self.send(body, headers)
        carried = await self.send(body, headers | {"Origin": "https://elsewhere.test"})
        for told in (plain[1], carried[1]):  # browsers are told more, and the second failure leaves less
            for name in [name for name in told if name.startswith(("access-control-", "ratelimit"))]:
                del told[name]
        assert plain == carried
        return plain[0]


@pytest.fixture
async def panel(client: Client, desk: Desk) -> Panel:
    issued = await desk.a_license(await desk.a_user(), LicenseType.STARTER)
    return Panel(client, await an_api_key(desk), issued.key)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b'"\xff"', 400),
        (b"{}", 400),
        (b'{"items":[]}', 400),
        (b'{"items":5}', 400),
        (b'{"items":[1],"more":1}', 400),
        (b'{"items":[{}]}', 200),
        (b'{"items":' + b"[" * 5000 + b"]" * 5000 + b"}", 400),
        (b'{"resource":' + b"[" * 5000 + b"]" * 5000 + b"}", 400),
    ],
)
async def test_bodies_are_answered_alike_on_both_ways(panel: Panel, body: bytes, status: int) -> None:
    assert await panel.send_both_ways(body, panel.headers(body, "r-1")) == status


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"count": 0}, 400),
        ({"count": -1}, 400),
        ({"resource": "unicorns"}, 400),
        ({"license_key": "NP-0000-0000-0000"}, 404),
        ({"reservation_id": "0" * 32}, 400),
        ({"occurred_at": "1999-12-31T23:59:59Z"}, 400),
    ],
)
async def test_reports_that_cannot_be_true_are_refused_alike(
    panel: Panel, changes: dict[str, Any], status: int
) -> None:
    body = json.dumps(panel.report | changes).encode()
    assert await panel.send_both_ways(body, panel.headers(body, "r-1")) == status


async def test_signatures_are_refused_alike(panel: Panel) -> None:
    body = json.dumps(panel.report).encode()
    signed = panel.headers(body, "r-1")
    assert await panel.send_both_ways(body, signed | {HEADER: "k=?"}) == 401
    assert await panel.send_both_ways(body, signed | {"Idempotency-Key": "r-2"}) == 401
    assert await panel.send_both_ways(body + b" ", signed) == 401
    assert await panel.send_both_ways(body, {"Idempotency-Key": "r-1"}) == 401
    assert await panel.send_both_ways(body, panel.headers(body, "")) == 400
    assert await panel.send_both_ways(body, panel.headers(body, "x" * 256)) == 400


async def test_a_report_sent_on_both_ways_counts_once(panel: Panel, database: Database) -> None:
    body = json.dumps(panel.report).encode()
    headers = panel.headers(body, "r-1")
    first = await panel.send(body, headers)
    carried = await panel.send(body, headers | {"Origin": "https://elsewhere.test"})
    again = await panel.send(body, headers)
    assert first[2] == carried[2] == again[2] == {"success": True, "quota_remaining": 4, "overage": False}
    replayed = [answer[1].get("idempotency-replayed") for answer in (first, carried, again)]
    assert replayed == [None, "true", "true"]
    async with database.as_system() as tx:
        assert len((await tx.session.execute(select(UsageEvent))).all()) == 1


@pytest.mark.parametrize("key", ["größe-1", "gro\u0308ße-1", "😀", "k" * 255, "ä" * 255, " a b "])
@pytest.mark.parametrize("origin", [{}, {"Origin": "https://elsewhere.test"}], ids=["plain", "carried"])
async def test_a_key_is_one_in_a_head_and_in_a_list(
    panel: Panel, database: Database, key: str, origin: dict[str, str]
) -> None:
    """In a header it is UTF-8 without surrounding spaces; in a list it is a JSON string."""
    body = json.dumps(panel.report).encode()
    signed = panel.headers(body, key.strip())[HEADER]
    headers = {HEADER.encode(): signed.encode(), b"Idempotency-Key": key.strip().encode()}
    headers |= {name.encode(): value.encode() for name, value in origin.items()}
    answer = await panel.client.post(PATH, content=body, headers=headers)
    assert answer.status_code == 200, answer.text
    listed = json.dumps({"items": [panel.report | {"idempotency_key": key}]}, ensure_ascii=False).encode()
    _, _, content = await panel.send(listed, panel.headers(listed, ""))
    assert content["items"][0]["success"] is True
    async with database.as_system() as tx:
        (event,) = (await tx.session.scalars(select(UsageEvent))).all()
        assert event.idempotency_key == key.strip()


@pytest.mark.parametrize("key", [b"gr\xf6\xdfe", b"\xc3", b"\xed\xa0\x80"])
async def test_a_key_that_is_no_utf_8_is_refused(panel: Panel, key: bytes) -> None:
    """Its text would be a guess, and JSON cannot contain it."""
    body = json.dumps(panel.report).encode()
    t, nonce = str(int(unix_time())), "0" * 32
    v1 = Verifier(SECRET.encode()).mac(b"POST", PATH.encode(), t.encode(), nonce.encode(), key, body_digest(body))
    signature = f"k={panel.key_id},t={t},n={nonce},v1={v1}".encode()
    answer = await panel.client.post(PATH, content=body, headers={HEADER.encode(): signature, b"Idempotency-Key": key})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_input")
    assert answer.json()["errors"][0]["field"] == "Idempotency-Key"


async def test_a_request_id_is_taken_over_and_successes_are_counted(panel: Panel) -> None:
    labels = {"method": "POST", "path": PATH, "status_code": "200", "app_name": "billing_api"}

    def counted(name: str) -> float:
        return REGISTRY.get_sample_value(f"billing_api_{name}", labels) or 0.0

    before = counted("requests_total"), counted("request_duration_seconds_count")
    body = json.dumps(panel.report).encode()
    answer = await panel.client.post(
        PATH, content=body, headers=panel.headers(body, "r-1") | {"X-Request-Id": "from-the-proxy"}
    )
    assert answer.headers["x-request-id"] == "from-the-proxy"
    assert (counted("requests_total"), counted("request_duration_seconds_count")) == (before[0] + 1, before[1] + 1)
    assert counted("requests_in_progress") == 0


async def test_other_calls_are_the_framework_s(client: Client) -> None:
    assert (await client.get(PATH)).status_code == 405
    assert (await client.options(PATH)).status_code == 204
    assert (await client.post(PATH, content=b" " * (MAX_BODY_BYTES + 1))).status_code == 413
    assert (await client.post(PATH + "x")).status_code == 404


class Framework:
    """Takes Litestar's place, and records what reached it."""

    def __init__(self) -> None:
        self.reached: list[Any] = []

    async def __call__(self, scope: Any, _receive: Any, _send: Any) -> None:
        self.reached.append(scope["state"].get(FAILURE))


class Connection:
    """One request over ASGI, its body in pieces; without any piece, its client disconnects."""

    def __init__(self, fast_path: FastPath, pieces: Sequence[bytes], **changes: Any) -> None:
        self.fast_path = fast_path
        self.scope = {
            "type": "http",
            "method": "POST",
            "path": PATH,
            "raw_path": PATH.encode(),
            "query_string": b"",
            "headers": [],
            "client": ("127.0.0.1", 1),
            "state": {},
        } | changes
        self.incoming: list[Message] = [
            {"type": "http.request", "body": piece, "more_body": number < len(pieces)}
            for number, piece in enumerate(pieces, 1)
        ] or [{"type": "http.disconnect"}]
        self.received = 0
        self.sent: list[Message] = []

    async def run(self) -> None:
        async def receive() -> Any:
            self.received += 1
            return self.incoming[self.received - 1]

        async def send(message: Any) -> None:
            self.sent.append(message)

        await self.fast_path(self.scope, BodyTimeouts().bounded(receive), send)  # type: ignore[arg-type]  # a scope of just what is read


@pytest.fixture
def framework() -> Framework:
    return Framework()


@pytest.fixture
def fast_path(app: Litestar, framework: Framework) -> FastPath:
    return FastPath(framework, app.state, most_bytes=1000, headers={})


def sized(number: int, *more: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    return [(b"content-length", b"%d" % number), *more]


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "PUT", "headers": sized(2)},
        {"path": "/api/v1/billing/usage/", "headers": sized(2)},
        {"headers": []},
        {"headers": [(b"content-length", b"")]},
        {"headers": [(b"content-length", b"+2")]},
        {"headers": [(b"content-length", b"9" * 5000)]},
        {"headers": sized(1001)},
        {"headers": sized(2, (b"origin", b"https://elsewhere.test"))},
        {"type": "websocket"},
    ],
)
async def test_what_is_not_plain_goes_on_untouched(
    fast_path: FastPath, framework: Framework, changes: dict[str, Any]
) -> None:
    connection = Connection(fast_path, [b"{}"], **changes)
    await connection.run()
    assert (framework.reached, connection.received, connection.sent) == ([None], 0, [])


async def test_what_is_refused_goes_on_with_its_refusal(fast_path: FastPath, framework: Framework) -> None:
    connection = Connection(fast_path, [b"{", b"}"], headers=sized(2))
    await connection.run()
    assert [type(failure) for failure in framework.reached] == [SignatureFault]
    assert (connection.received, connection.sent) == (2, [])


async def test_a_body_in_pieces_is_one_and_the_framework_hears_nothing(
    panel: Panel, fast_path: FastPath, framework: Framework
) -> None:
    body = json.dumps(panel.report).encode()
    headers = [(name.lower().encode(), value.encode()) for name, value in panel.headers(body, "r-1").items()]
    connection = Connection(fast_path, [body[:10], b"", body[10:]], headers=sized(len(body), *headers))
    await connection.run()
    assert framework.reached == []
    assert [message["type"] for message in connection.sent] == ["http.response.start", "http.response.body"]
    assert json.loads(connection.sent[1]["body"])["success"] is True


async def test_a_client_that_disconnects_before_the_end_of_the_body_reports_nothing(
    fast_path: FastPath, framework: Framework, database: Database
) -> None:
    connection = Connection(fast_path, [], headers=sized(2))
    async with asyncio.timeout(5):
        await connection.run()
    assert ([type(failure) for failure in framework.reached], connection.sent) == ([BrokenBody], [])
    async with database.as_system() as tx:
        assert (await tx.session.execute(select(UsageEvent))).all() == []
