"""Usage reports over HTTP."""

from typing import Annotated, Any

from litestar import Request, post
from litestar.di import NamedDependency
from litestar.params import HeaderParameter, JSONBody

from billing_api.access import Permission
from billing_api.api_keys.service import SignatureChecker, SignedRequest, Signer
from billing_api.usage.schemas import UsageRecorded, UsageReport
from billing_api.usage.service import UsageService


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
)
async def report_usage(
    request: Request[Any, Any, Any],
    data: JSONBody[UsageReport],
    usage: NamedDependency[UsageService],
    idempotency_key: Annotated[str, HeaderParameter(name="Idempotency-Key")] = "",
) -> UsageRecorded:
    """Answered after it is stored. Signed, and its Idempotency-Key with it: sent twice, it counts once."""
    signer: Signer = request.state.signer
    return await usage.report(signer, data, idempotency_key)
