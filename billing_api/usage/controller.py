"""Usage reports over HTTP."""

from dataclasses import dataclass
from typing import Any, Final, cast

import msgspec
from litestar import Request, Response, post
from litestar.di import NamedDependency
from litestar.openapi.spec import Components, OpenAPIMediaType, Operation, RequestBody, Schema

from billing_api.access import Permission
from billing_api.api_keys.service import SignatureChecker, SignedRequest, Signer
from billing_api.problems import invalid_body
from billing_api.usage.recording import Counted
from billing_api.usage.schemas import (
    ItemAnswer,
    ItemProblem,
    RawReports,
    UsageAnswers,
    UsageRecorded,
    UsageReport,
    UsageReports,
)
from billing_api.usage.service import UsageService
from core.errors import Refusal

_one_of, _schemas = msgspec.json.schema_components(
    [UsageReport, UsageReports], ref_template="#/components/schemas/{name}"
)
COMPONENTS: Final = Components(schemas=cast("dict[str, Schema]", _schemas))
"""What the document of this route refers to. Litestar knows no body that is one of two structs."""


@dataclass
class _ReportOrList(Operation):
    def __post_init__(self) -> None:
        schema = Schema(one_of=cast("list[Schema]", _one_of))
        self.request_body = RequestBody({"application/json": OpenAPIMediaType(schema)}, required=True)


class _Shape(msgspec.Struct):
    """Tells a list from a single report."""

    items: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_shape: Final = msgspec.json.Decoder(_Shape)
_report: Final = msgspec.json.Decoder(UsageReport)
_reports: Final = msgspec.json.Decoder(RawReports)


async def check_signature(request: Request[Any, Any, Any]) -> None:
    """Before anything of the body is read into: an unsigned call learns nothing but that."""
    raw_path: bytes = request.scope["raw_path"]
    query: bytes = request.scope["query_string"]
    headers = request.headers
    signed = SignedRequest(
        signature=headers["np-signature"].encode("latin-1") if "np-signature" in headers else None,
        method=request.method.encode(),
        target=raw_path.partition(b"?")[0] + (b"?" + query if query else b""),
        idempotency_key=headers.get("idempotency-key", "").encode("latin-1"),
        body=await request.body(),
    )
    checker: SignatureChecker = request.app.state.services.signature_checker
    request.state.signer = await checker.check(signed, "usage")


@post(
    "/billing/usage",
    permission=Permission.SIGNED,
    before_request=check_signature,
    status_code=200,
    tags=["nextpanel"],
    summary="Report what was created, deleted or counted",
    operation_class=_ReportOrList,
)
async def report_usage(
    request: Request[Any, Any, Any], usage: NamedDependency[UsageService]
) -> Response[UsageRecorded | UsageAnswers]:
    """One report, with a signed Idempotency-Key in the head; or up to 1,000, each with a key of its own.

    Answered after it is stored. Sent twice, it counts once. In a list each item has its own answer.
    """
    signer: Signer = request.state.signer
    body = await request.body()
    try:
        if _shape.decode(body).items is msgspec.UNSET:
            report = _report.decode(body)
            counted = await usage.report(signer, report, request.headers.get("idempotency-key", ""))
            headers = {"Idempotency-Replayed": "true"} if counted.replayed else {}
            return Response(
                UsageRecorded(success=True, quota_remaining=counted.remaining, overage=counted.overage), headers=headers
            )
        outcomes = await usage.report_many(signer, _reports.decode(body))
        return Response(UsageAnswers([_answer(outcome) for outcome in outcomes]))
    except (msgspec.DecodeError, UnicodeDecodeError) as failure:
        raise invalid_body(failure) from failure


def _answer(outcome: Counted | Refusal) -> ItemAnswer:
    if isinstance(outcome, Counted):
        return ItemAnswer(success=True, quota_remaining=outcome.remaining, overage=outcome.overage)
    conclusive = outcome.status < 500
    problem = ItemProblem(outcome.status, outcome.code, outcome.detail, conclusive, outcome.errors)
    return ItemAnswer(success=False, problem=problem)
