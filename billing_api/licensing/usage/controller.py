"""Usage route of the framework: its OpenAPI description, its errors, and requests that are not plain.

Plain requests are answered before the framework (fast_path.py). From the signature on, both ways are the same.
"""

from litestar import Response, post
from litestar.di import NamedDependency

from billing_api.access.permissions import Permission
from billing_api.access.rate_limits import RateLimiter
from billing_api.licensing.api_keys.signature_checker import SignatureChecker
from billing_api.licensing.usage.fast_path import (
    FAILURE,
    answer,
    signed_request,
)
from billing_api.licensing.usage.schemas import (
    UsageAnswers,
    UsageRecorded,
    UsageReport,
    UsageReports,
)
from billing_api.licensing.usage.service import UsageService
from billing_api.web.parameters import SIGNED_KEY
from billing_api.web.problems import documented
from billing_api.web.strict_request import StrictRequest
from core.errors import InvalidSignature, NetworkNotAllowed, PermissionMissing


@post(
    "/billing/usage",
    permission=Permission.SIGNED,
    failures="signature_failures",
    reads_body=True,
    status_code=200,
    tags=["nextpanel"],
    documented_body=UsageReport | UsageReports,
    documented_key=SIGNED_KEY,
    responses={401: documented(InvalidSignature), 403: documented(PermissionMissing, NetworkNotAllowed)},
)
async def report_usage(
    request: StrictRequest,
    usage: NamedDependency[UsageService],
    limits: NamedDependency[RateLimiter],
    signature_checker: NamedDependency[SignatureChecker],
) -> Response[UsageRecorded | UsageAnswers]:
    """Report what was created, deleted or counted.

    Send one report with a signed Idempotency-Key header, or a list of up to 1,000, each with its own key.

    The answer comes after the report is stored. A report that is sent twice counts once. Each item of a list has its
    own answer.
    """
    state = request.scope["state"]
    try:
        if FAILURE in state:
            raise state.pop(FAILURE)  # and no variable of it here, which its traceback would lead back to
        request.require_json()
        answered = await answer(signature_checker, usage, signed_request(request.scope, await request.body()))
    except InvalidSignature:
        await limits.count_failure(request)
        raise
    headers = {"Idempotency-Replayed": "true"} if answered.replayed else {}
    return Response(answered.content, headers=headers)
