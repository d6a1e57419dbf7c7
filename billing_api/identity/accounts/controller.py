"""Accounts over HTTP: registration, sign-in and sign-out, and the customer's own profile."""

from litestar import Controller, MediaType, Response, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromQuery, JSONBody, URLEncodedBody

from billing_api.access.caller import Caller
from billing_api.access.permissions import Permission, Principal
from billing_api.identity.accounts import verification_page
from billing_api.identity.accounts.registrations import Registrations
from billing_api.identity.accounts.schemas import (
    Credentials,
    EmailProof,
    EmailVerified,
    Me,
    MyChanges,
    Registered,
    Registration,
)
from billing_api.identity.accounts.service import AccountService
from billing_api.identity.second_factor.schemas import ChallengeAnswer, SecondFactorAsked
from billing_api.identity.sessions.cookies import AnyRequest, RefreshCookie, tokens_response
from billing_api.identity.sessions.schemas import AccessGranted
from billing_api.web import link_page
from billing_api.web.problems import documented
from core.errors import (
    ChallengeOver,
    EmailNotVerified,
    Forbidden,
    InvalidCredentials,
    InvalidInput,
    InvalidSecondFactor,
    Unauthenticated,
)


class AuthController(Controller):
    path = "/auth"
    tags = ("accounts",)

    @post(
        "/register",
        permission=Permission.PUBLIC,
        limit="register",
    )
    async def register(self, registrations: NamedDependency[Registrations], data: JSONBody[Registration]) -> Registered:
        """Open an account.

        A mail with a link asks to confirm the address; it is good for 24 hours. The answer is the same for every
        address, so that it does not show who has an account. An address that has an account gets a mail that says so.
        """
        return await registrations.register(data)

    @post(
        "/verify-email",
        permission=Permission.PUBLIC,
        limit="password",
        status_code=200,
    )
    async def verify_email(
        self, registrations: NamedDependency[Registrations], data: JSONBody[EmailProof]
    ) -> EmailVerified:
        """Confirm the address of a new account.

        The token is in the mail's link, which opens a page that does this as well. After that the account can sign in.
        """
        return await registrations.verify(data.token)

    @post(
        "/login",
        permission=Permission.PUBLIC,
        limit="login",
        status_code=200,
        responses={401: documented(InvalidCredentials), 403: documented(EmailNotVerified, Forbidden)},
    )
    async def login(
        self,
        request: AnyRequest,
        accounts: NamedDependency[AccountService],
        refresh_cookie: NamedDependency[RefreshCookie],
        caller: NamedDependency[Caller],
        data: JSONBody[Credentials],
    ) -> Response[AccessGranted | SecondFactorAsked]:
        """Sign in with e-mail address and password.

        The answer holds an access token for 15 minutes, and sets a cookie with a refresh token for `auth/refresh`. An
        account with a second factor is answered with a challenge instead: send it to `auth/mfa` within 5 minutes. After
        a few wrong passwords each further one has to wait, longer each time (429, `Retry-After`).
        """
        refresh_cookie.refuse_other_sites(request)
        outcome = await accounts.sign_in(data.email, data.password, caller)
        if isinstance(outcome, SecondFactorAsked):
            return Response(outcome, headers={"Cache-Control": "no-store"})
        return tokens_response(outcome, refresh_cookie)

    @post(
        "/mfa",
        permission=Permission.PUBLIC,
        limit="login",
        status_code=200,
        responses={401: documented(InvalidSecondFactor, ChallengeOver)},
    )
    async def answer_challenge(
        self,
        request: AnyRequest,
        accounts: NamedDependency[AccountService],
        refresh_cookie: NamedDependency[RefreshCookie],
        caller: NamedDependency[Caller],
        data: JSONBody[ChallengeAnswer],
    ) -> Response[AccessGranted]:
        """Finish a sign-in with the second factor.

        Send the challenge of `auth/login` with either a code of the app or a recovery code. A challenge is good for 5
        minutes and 5 tries; then begin the sign-in again.
        """
        refresh_cookie.refuse_other_sites(request)
        return tokens_response(await accounts.answer_challenge(data.challenge, data, caller), refresh_cookie)

    @post("/refresh", permission=Permission.PUBLIC, status_code=200)
    async def refresh_token(
        self,
        request: AnyRequest,
        accounts: NamedDependency[AccountService],
        refresh_cookie: NamedDependency[RefreshCookie],
        caller: NamedDependency[Caller],
    ) -> Response[AccessGranted]:
        """Get a fresh access token.

        Reads the refresh token from the cookie, and sets the next one: each works once. The sign-in ends 7 days after
        it was last refreshed. Browsers may call it from listed origins only.
        """
        token = refresh_cookie.read(request)
        if token is None:
            raise Unauthenticated("the refresh cookie is missing: sign in with POST auth/login")
        return tokens_response(await accounts.refresh(token, caller), refresh_cookie)

    @post(
        "/logout",
        permission=Permission.PUBLIC,
        status_code=204,
    )
    async def logout(
        self,
        request: AnyRequest,
        accounts: NamedDependency[AccountService],
        refresh_cookie: NamedDependency[RefreshCookie],
    ) -> Response[None]:
        """Sign out.

        Ends the sign-in of the cookie and that of the access token, if either is sent. It succeeds without any, so that
        a client may always call it.
        """
        await accounts.sign_out(refresh_cookie.read(request), request.user)
        return Response(None, status_code=204, cookies=[refresh_cookie.cleared()])


@get(
    verification_page.PATH,
    permission=Permission.PUBLIC,
    limit="password",
    media_type=MediaType.HTML,
    include_in_schema=False,
)
async def show_verification(token: FromQuery[str]) -> Response[str]:
    """The page behind the mail's link. It only asks, so that a mail scanner that opens links confirms nothing."""
    return link_page.reply(verification_page.confirmation_form(token))


@post(
    verification_page.PATH,
    permission=Permission.PUBLIC,
    limit="password",
    media_type=MediaType.HTML,
    include_in_schema=False,
)
async def verify_by_form(
    registrations: NamedDependency[Registrations], data: URLEncodedBody[EmailProof]
) -> Response[str]:
    """The page's button. The origin of the form is not checked: without referrers browsers do not send it."""
    try:
        verified = await registrations.verify(data.token)
    except InvalidInput:
        return link_page.reply(verification_page.link_expired(), status_code=400)
    return link_page.reply(verification_page.confirmed(verified.email))


class MeController(Controller):
    path = "/me"
    tags = ("accounts",)

    @get("/", permission=Permission.OWN_ACCOUNT)
    async def get_me(self, principal: NamedDependency[Principal], accounts: NamedDependency[AccountService]) -> Me:
        """Read my account, this sign-in, and what it may do.

        For a page's header, and for which pages to show: `permissions` are what the other routes ask for. An
        administrator in a customer's place reads the customer's account, and `impersonated_by` says so.
        """
        return await accounts.me(principal)

    @patch("/", permission=Permission.OWN_ACCOUNT)
    async def change_me(
        self,
        principal: NamedDependency[Principal],
        accounts: NamedDependency[AccountService],
        data: JSONBody[MyChanges],
    ) -> Me:
        """Change my name, my company's, my language or my time zone.

        Absent fields stay as they are. `null` removes the company, the language or the time zone. Mails are in English
        whatever the language: it says how pages write dates and numbers. For the address and the password there are
        routes of their own.
        """
        return await accounts.change_me(principal, data)
