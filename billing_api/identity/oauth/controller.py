"""OAuth over HTTP: the token endpoint of RFC 6749, and the customer's clients."""

from datetime import timedelta
from typing import Annotated, Any, Final
from uuid import UUID

from litestar import Controller, Request, Response, delete, get, post
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, JSONBody, QueryParameter

from billing_api.access.caller import Caller
from billing_api.access.permissions import Permission, Principal
from billing_api.identity.oauth import token_request
from billing_api.identity.oauth.schemas import ClientIssued, ClientView, NewClient, TokenFault, TokenForm, TokenGranted
from billing_api.identity.oauth.service import ClientTokens, OAuthClientService
from billing_api.identity.oauth.token_request import FORM, TokenError, TokenRefused
from billing_api.web.parameters import reply
from core.errors import InvalidInput
from db.idempotency import Once
from db.paging import Page, Paging

_NO_STORE: Final = {"Cache-Control": "no-store", "Pragma": "no-cache"}  # RFC 6749, 5.1
_LONGEST_OVERLAP_HOURS: Final = 168

OverlapHours = Annotated[
    int, QueryParameter(ge=0, le=_LONGEST_OVERLAP_HOURS, description="For how many hours the old secret stays valid.")
]


def error_response(_request: Request[Any, Any, Any], refusal: TokenRefused) -> Response[TokenFault]:
    headers = dict(_NO_STORE)
    is_client = refusal.error is TokenError.INVALID_CLIENT
    if is_client:
        headers["WWW-Authenticate"] = 'Basic realm="nextpanel-billing", charset="UTF-8"'
    fault = TokenFault(refusal.error, refusal.description)
    return Response(fault, status_code=401 if is_client else 400, headers=headers)


def query_error_response(request: Request[Any, Any, Any], refusal: InvalidInput) -> Response[TokenFault]:
    """The guard refuses parameters in the URL (web/undeclared.py); this route answers with an error of RFC 6749."""
    names = ", ".join(error.field for error in refusal.errors if error.field.isascii())
    detail = f"parameters in the URL are not accepted; send them in the form: {names}"
    return error_response(request, TokenRefused(TokenError.INVALID_REQUEST, detail))


@post(
    "/oauth/token",
    permission=Permission.PUBLIC,
    limit="login",
    reads_body=True,
    status_code=200,
    tags=["oauth"],
    documented_body=TokenForm,
    documented_body_type=FORM,
    exception_handlers={TokenRefused: error_response, InvalidInput: query_error_response},
    responses={
        400: ResponseSpec(TokenFault, generate_examples=False, description="RFC 6749, 5.2"),
        401: ResponseSpec(TokenFault, generate_examples=False, description="invalid_client"),
    },
)
async def grant_token(
    request: Request[Any, Any, Any], client_tokens: NamedDependency[ClientTokens], caller: NamedDependency[Caller]
) -> Response[TokenGranted]:
    """Get an access token for a program.

    The client credentials grant of OAuth 2.0 (RFC 6749, 4.4). Send the credentials by HTTP Basic or in the form.
    Without `scope` the token has all scopes of the client. Errors are those of RFC 6749, not problems.
    """
    headers = request.headers
    wanted = token_request.read(headers.get("content-type", ""), headers.get("authorization"), await request.body())
    return Response(await client_tokens.grant(wanted, caller.address), headers=_NO_STORE)


class OAuthClientController(Controller):
    path = "/me/oauth-clients"
    tags = ("oauth",)

    @get("/", permission=Permission.OWN_CREDENTIALS)
    async def list_oauth_clients(
        self,
        principal: NamedDependency[Principal],
        oauth_clients: NamedDependency[OAuthClientService],
        paging: NamedDependency[Paging],
    ) -> Page[ClientView]:
        """List the programs that read my account.

        The oldest first, without their secrets.
        """
        return await oauth_clients.page(principal, paging)

    @post("/", permission=Permission.OWN_CREDENTIALS, step_up=True)
    async def create_oauth_client(
        self,
        principal: NamedDependency[Principal],
        request_id: NamedDependency[str],
        oauth_clients: NamedDependency[OAuthClientService],
        once: NamedDependency[Once],
        data: JSONBody[NewClient],
    ) -> Response[ClientIssued]:
        """Let a program read my account.

        The answer holds its secret, which is shown this once. A program reads what its scopes name; it never changes
        anything.
        """
        return reply(await oauth_clients.create(principal, data, once, request_id=request_id), status_code=201)

    @post(
        "/{client_id:uuid}/rotate",
        permission=Permission.OWN_CREDENTIALS,
        step_up=True,
        status_code=200,
    )
    async def rotate_oauth_client(
        self,
        principal: NamedDependency[Principal],
        request_id: NamedDependency[str],
        oauth_clients: NamedDependency[OAuthClientService],
        client_id: FromPath[UUID],
        overlap_hours: OverlapHours = 24,
    ) -> Response[ClientIssued]:
        """Give a program a new secret.

        The answer holds it; it is shown this once. The previous secret works for `overlap_hours` more, so that the
        program can be changed meanwhile.
        """
        overlap = timedelta(hours=overlap_hours)
        issued = await oauth_clients.rotate(principal, client_id, overlap=overlap, request_id=request_id)
        return Response(issued, headers={"Cache-Control": "no-store"})

    @delete("/{client_id:uuid}", permission=Permission.OWN_CREDENTIALS)
    async def revoke_oauth_client(
        self,
        principal: NamedDependency[Principal],
        request_id: NamedDependency[str],
        oauth_clients: NamedDependency[OAuthClientService],
        client_id: FromPath[UUID],
    ) -> None:
        """Revoke a program.

        Its secret and all of its access tokens are refused at once.
        """
        await oauth_clients.revoke(principal, client_id, request_id=request_id)
