"""Step-up over HTTP. It reads the access token and no cookie, so another site's page cannot cause it."""

from litestar import Response, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from billing_api.access.caller import Caller
from billing_api.access.permissions import Permission, Principal
from billing_api.identity.sessions.schemas import AccessGranted
from billing_api.identity.step_up.schemas import StepUp
from billing_api.identity.step_up.service import StepUpService
from billing_api.web.problems import documented
from core.errors import Forbidden, InvalidCredentials, InvalidSecondFactor, SecondFactorRequired, Unauthenticated


@post(
    "/auth/step-up",
    permission=Permission.OWN_CREDENTIALS,
    limit="login",
    status_code=200,
    tags=["accounts"],
    responses={
        401: documented(Unauthenticated, InvalidCredentials, InvalidSecondFactor),
        403: documented(SecondFactorRequired, Forbidden),
    },
)
async def step_up(
    principal: NamedDependency[Principal],
    caller: NamedDependency[Caller],
    step_ups: NamedDependency[StepUpService],
    data: JSONBody[StepUp],
) -> Response[AccessGranted]:
    """Confirm the sign-in again.

    For calls that need a recent sign-in: give the password again and, where the account has one, the second factor. The
    access token in the answer is good for such calls for five minutes.
    """
    token = await step_ups.step_up(principal, data, caller)
    return Response(AccessGranted(token), headers={"Cache-Control": "no-store"})
