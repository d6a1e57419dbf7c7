"""Fast path (ASGI bypass) of POST /api/v1/billing/usage, which comes thousands of times a second.

    head and body ─► signature      api_keys/signature_checker.py   who reports
                  ─► report         schemas.py                      what is reported; service.py checks it by itself
                  ─► batch          batch_gathering.py              together with all reports of the same moment
                  ─► transaction    batch_recording.py              counts and writes, by statements of repository.py
                  ─► COMMIT ─► answer

`answer` does all of this, for the fast path and for the framework's route (controller.py). What Litestar does around a
handler costs more than the report. So this ASGI application runs before the framework and answers plain requests
itself.

It answers only successes. A refusal or a failure is passed to the framework, which answers it as on every other route:
one mapping to problem+json, one log line, one set of counters. Requests that are not plain go there as well: another
method or media type, a body of unknown or too large a size, a browser's request (`Origin`).
"""

from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any, Final, NamedTuple

import msgspec
from litestar.datastructures import State
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

from billing_api.licensing.api_keys.signature_checker import SignatureChecker, SignedRequest
from billing_api.licensing.usage.batch_counting import Counted
from billing_api.licensing.usage.schemas import (
    ItemAnswer,
    ItemProblem,
    RawReports,
    UsageAnswers,
    UsageItem,
    UsageRecorded,
    UsageReport,
    UsageReports,
)
from billing_api.licensing.usage.service import UsageService
from billing_api.web.request_context import bind_request_id
from billing_api.web.request_metrics import route_metrics
from billing_api.web.single_headers import require_single
from core.errors import FieldError, InvalidInput, Refusal
from core.field_errors import BAD_JSON, invalid_body
from core.headers import JSON

PATH: Final = "/api/v1/billing/usage"
FAILURE: Final = "usage_failure"
"""Key in the request's state: the exception for which the fast path did not answer."""

_DIGITS_OF_SIZE: Final = 9
_JSON: Final = frozenset({JSON, JSON + b"; charset=utf-8", JSON + b";charset=utf-8"})
"""The usual spellings; the framework decides about any other one."""


class _Shape(msgspec.Struct):
    """Tells a list from a single report."""

    items: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_shape: Final = msgspec.json.Decoder(_Shape)
_report: Final = msgspec.json.Decoder(UsageReport)
_reports: Final = msgspec.json.Decoder(UsageReports)
_raw_reports: Final = msgspec.json.Decoder(RawReports)
_item: Final = msgspec.json.Decoder(UsageItem)
_encode: Final = msgspec.json.Encoder().encode


class Answer(NamedTuple):
    content: UsageRecorded | UsageAnswers
    replayed: bool = False


def signed_request(scope: HTTPScope, body: bytes) -> SignedRequest:
    """The parts that the signature covers. Refusal where a header appears twice that may appear only once."""
    pairs = list(scope["headers"])
    headers = dict(pairs)
    if len(headers) != len(pairs):
        require_single(pairs)
    query = scope["query_string"]
    return SignedRequest(
        signature=headers.get(b"np-signature"),
        method=scope["method"].encode(),
        target=scope["raw_path"].partition(b"?")[0] + (b"?" + query if query else b""),
        idempotency_key=headers.get(b"idempotency-key", b""),
        body=body,
        peer=(scope["client"] or ("",))[0],
        headers=pairs,
    )


async def answer(checker: SignatureChecker, usage: UsageService, request: SignedRequest) -> Answer:
    """The answer, once the report is stored. The body is parsed only after the signature is verified.

    So an unsigned caller learns nothing else.
    """
    signer = await checker.check(request, "usage")
    try:
        if _shape.decode(request.body).items is msgspec.UNSET:
            report = _report.decode(request.body)
            counted = await usage.report(signer, report, _key_text(request.idempotency_key))
            recorded = UsageRecorded(success=True, quota_remaining=counted.remaining, overage=counted.overage)
            return Answer(recorded, counted.replayed)
        outcomes = await usage.report_many(signer, _items(request.body))
        return Answer(UsageAnswers([_of_item(outcome) for outcome in outcomes]))
    except BAD_JSON as failure:
        wanted = UsageReports if _is_list(request.body) else UsageReport
        raise invalid_body(failure, request.body, wanted) from failure


def _key_text(key: bytes) -> str:
    """The key as text. UTF-8, as in JSON: so a key is the same one in the header and in a list."""
    try:
        return key.decode()
    except UnicodeDecodeError:
        fault = FieldError("Idempotency-Key", "must be UTF-8", "bad_format", {"expected": "UTF-8"})
        raise InvalidInput("the Idempotency-Key is not UTF-8; encode it so", errors=(fault,)) from None


def _is_list(body: bytes) -> bool:
    try:
        return _shape.decode(body).items is not msgspec.UNSET
    except BAD_JSON:
        return False


def _items(body: bytes) -> Sequence[UsageItem | Refusal]:
    """The items. If the list cannot be parsed as a whole, each item is parsed alone, so that one fails alone."""
    try:
        return _reports.decode(body).items
    except BAD_JSON:
        return [_item_or_refusal(raw) for raw in _raw_reports.decode(body).items]


def _item_or_refusal(raw: msgspec.Raw) -> UsageItem | Refusal:
    try:
        return _item.decode(raw)
    except BAD_JSON as failure:
        return invalid_body(failure, bytes(raw), UsageItem)


def _of_item(outcome: Counted | Refusal) -> ItemAnswer:
    if isinstance(outcome, Counted):
        return ItemAnswer(success=True, quota_remaining=outcome.remaining, overage=outcome.overage)
    conclusive = outcome.meaning.conclusive
    problem = ItemProblem(outcome.status, outcome.code, outcome.detail, conclusive, outcome.errors)
    return ItemAnswer(success=False, problem=problem)


class FastPath:
    """An ASGI application in front of the framework's."""

    def __init__(
        self,
        framework: ASGIApp,
        state: State,
        *,
        most_bytes: int,
        headers: Mapping[str, str],
    ) -> None:
        """`state` is the application's; it has the services after startup. `headers` are added to every answer."""
        self._framework = framework
        self._headers = [(b"content-type", b"application/json")]
        self._headers += [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        self._state = state
        self._most_bytes = most_bytes
        self._metrics = route_metrics("POST", PATH)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP or not self._is_plain(scope):
            await self._framework(scope, receive, send)
            return
        began = perf_counter()
        request_id = bind_request_id(scope)
        licensing = self._state.api.services.licensing
        try:
            body = await _body(receive)
            with self._metrics.in_progress.track_inprogress():
                answered = await answer(licensing.signature_checker, licensing.usage, signed_request(scope, body))
        except Exception as failure:  # noqa: BLE001  the framework answers every failure
            scope["state"][FAILURE] = failure
            try:
                await self._framework(scope, receive, send)
            finally:
                # By its traceback the failure leads to the scope, and so to itself. Such a circle would keep the
                # request's body, and with it the client's connection, until the garbage collector runs.
                scope["state"].pop(FAILURE, None)
            return
        await self._tell(send, answered, request_id)
        self._metrics.count(200, perf_counter() - began)

    async def _tell(self, send: Send, answered: Answer, request_id: str) -> None:
        content = _encode(answered.content)
        headers = [
            *self._headers,
            (b"content-length", b"%d" % len(content)),
            (b"x-request-id", request_id.encode()),
        ]
        if answered.replayed:
            headers.append((b"idempotency-replayed", b"true"))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content, "more_body": False})

    def _is_plain(self, scope: HTTPScope) -> bool:
        if scope["path"] != PATH or scope["method"] != "POST" or scope["query_string"]:
            return False
        size = b""
        for name, value in scope["headers"]:
            if name == b"content-length":
                size = value
            elif name == b"origin" or (name == b"content-type" and value not in _JSON):
                return False
        return size.isdigit() and len(size) <= _DIGITS_OF_SIZE and int(size) <= self._most_bytes


async def _body(receive: Receive) -> bytes:
    """The whole body. Raises the timeout of billing_api/server/body_timeout.py."""
    parts: list[bytes] = []
    while True:
        message: Any = await receive()
        parts.append(message["body"])
        if not message.get("more_body"):
            return parts[0] if len(parts) == 1 else b"".join(parts)
