"""One request, from bytes to answer: key, idempotency, parameters, the work in one transaction, expansion, envelope.

Idempotency is Stripe's. The answer to a key is stored with the effect and repeated (`Idempotent-Replayed`), errors too
once the work had begun. Other parameters under the key are refused. A key whose first request is still running is a
409, which the SDK retries.
"""

import base64
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import msgspec
from litestar import Request, Response

from devstack.simulators.stripe.books import Books, Cause, Document, new_id
from devstack.simulators.stripe.errors import Refused, invalid
from devstack.simulators.stripe.expansion import expand
from devstack.simulators.stripe.forms import Tree, parse
from devstack.simulators.stripe.older_requests import modern
from devstack.simulators.stripe.operations import Operation
from devstack.simulators.stripe.parameters import decode

AnyRequest = Request[Any, Any, Any]


class Answer(msgspec.Struct):
    status: int
    body: Document
    request_id: str
    fingerprint: str = ""


class Endpoint:
    """Serves every operation of the table in the same way."""

    def __init__(self, books: Books, api_key: str) -> None:
        self._books = books
        self._api_key = api_key
        self._answers = books.journal.collection("idempotency", Answer)
        self._running: set[str] = set()

    async def serve(self, operation: Operation, request: AnyRequest) -> Response[Document]:
        cause = Cause(new_id("req", 14), request.headers.get("idempotency-key") if operation.method == "POST" else None)
        try:
            self._authenticate(request)
            with self._alone(cause.idempotency_key):
                tree = await _parameters(operation, request)
                answer = self._answer(operation, request, tree, cause)
        except Refused as refusal:
            answer = _refusal(refusal, cause)
        return _response(answer, request, cause)

    def _authenticate(self, request: AnyRequest) -> None:
        given = _presented_key(request.headers.get("authorization", ""))
        if not given:
            raise Refused(401, "You did not provide an API key. Send it as a bearer token.")
        if given != self._api_key:
            raise Refused(401, f"Invalid API Key provided: {given[:8]}{'*' * 8}{given[-4:]}")

    @contextmanager
    def _alone(self, key: str | None) -> Iterator[None]:
        """Marks the key as in use from the first byte of the request, not only once its parameters are known."""
        if key is None:
            yield
            return
        if key in self._running:
            message = f"There is currently another in-progress request using this Idempotency Key: {key}"
            raise Refused(409, message, type="idempotency_error", code="idempotency_key_in_use")
        self._running.add(key)
        try:
            yield
        finally:
            self._running.discard(key)

    def _answer(self, operation: Operation, request: AnyRequest, tree: Tree, cause: Cause) -> Answer:
        lenient = "stripe-version" not in request.headers
        params = decode(modern(operation.path, tree) if lenient else tree, operation.parameters, lenient=lenient)
        fingerprint = _fingerprint(operation, request, tree)
        paths = params.pop("expand", [])
        with self._books.journal.transaction():
            known = self._answers.get(cause.idempotency_key) if cause.idempotency_key else None
            if known and known.fingerprint != fingerprint:
                raise Refused(400, _REUSED, type="idempotency_error")
            if known:
                return known
            answer = self._work(operation, params, list(request.path_params.values()), paths, cause)
            answer.fingerprint = fingerprint
            if cause.idempotency_key:
                self._answers.put(cause.idempotency_key, answer)
        return answer

    def _work(self, operation: Operation, params: Document, ids: list[str], paths: list[str], cause: Cause) -> Answer:
        books = self._books
        books.cause = cause
        try:
            outcome = books.carry_out(lambda: expand(books, operation.work(books, params, *ids), paths))
        finally:
            books.cause = Cause()
        if isinstance(outcome, Refused):
            return _refusal(outcome, cause)
        return Answer(200, outcome, str(cause.request_id))


_REUSED: Final = (
    "Keys for idempotent requests can only be used with the same parameters they were first used with. "
    "Try using another key if you meant to execute a different request."
)


async def _parameters(operation: Operation, request: AnyRequest) -> Tree:
    body = (await request.body()).decode("utf-8", "replace")
    query = request.url.query
    if operation.method == "POST" and query:
        raise invalid("Send the parameters of a POST in its body, not in its address.")
    return parse(body if operation.method == "POST" else query)


def _fingerprint(operation: Operation, request: AnyRequest, tree: Tree) -> str:
    return hashlib.sha256(
        msgspec.json.encode([operation.method, request.url.path, tree], order="deterministic")
    ).hexdigest()


def _presented_key(header: str) -> str:
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value).decode().partition(":")[0]
        except ValueError:
            return ""
    return value if scheme.lower() == "bearer" else ""


def _refusal(refusal: Refused, cause: Cause) -> Answer:
    address = f"https://dashboard.stripe.com/test/logs/{cause.request_id}"
    return Answer(refusal.status, {"error": {**refusal.error, "request_log_url": address}}, str(cause.request_id))


def _response(answer: Answer, request: AnyRequest, cause: Cause) -> Response[Document]:
    headers = {"Request-Id": str(cause.request_id)}
    if version := request.headers.get("stripe-version"):
        headers["Stripe-Version"] = version
    if cause.idempotency_key:
        headers["Idempotency-Key"] = cause.idempotency_key
    if answer.request_id != cause.request_id:
        headers |= {"Idempotent-Replayed": "true", "Original-Request": answer.request_id}
    return Response(answer.body, status_code=answer.status, headers=headers)
