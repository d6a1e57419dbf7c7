"""Accounts over HTTP: registration, sign-in, and what a customer says about himself.

The refresh token lives in a cookie that scripts cannot read and that is sent to these routes alone. A cookie goes with
every request a browser makes, whoever made it do so; hence the routes that set or read it refuse requests that another
site's page has caused (`SameSite=Strict` is the first fence, the headers that browsers add are the second).
"""

from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from litestar import Controller, MediaType, Request, Response, get, patch, post
from litestar.datastructures import Cookie
from litestar.di import NamedDependency
from litestar.params import FromQuery, JSONBody, URLEncodedBody

from billing_api.access.caller import DEVICE_COOKIE, Caller
from billing_api.access.permissions import Permission, Principal
from billing_api.identity.accounts import verification_page
from billing_api.identity.accounts.registrations import Registrations
from billing_api.identity.accounts.schemas import (
    AccessGranted,
    Credentials,
    EmailProof,
    EmailVerified,
    Me,
    MyChanges,
    Registered,
    Registration,
)
from billing_api.identity.accounts.service import AccountService
from billing_api.identity.login_throttle import device
from billing_api.identity.second_factor.schemas import ChallengeAnswer, SecondFactorAsked
from billing_api.identity.sessions.refresh_tokens import LIFETIME
from billing_api.identity.sessions.sign_in import SignedIn
from billing_api.web import link_page
from core.errors import Forbidden, InvalidInput, Unauthenticated
from core.settings import ApiSettings

COOKIE: Final = "np_refresh"
_COOKIE_PATH: Final = "/api/v1/auth"
_OWN_SITE: Final = frozenset({"same-origin", "same-site", "none"})

AnyRequest = Request[Any, Any, Any]


class RefreshCookie(msgspec.Struct, frozen=True):
    """How the refresh token and the device's mark travel. `origins`: the pages that may use them, as browsers say."""

    secure: bool
    origins: frozenset[str]

    @classmethod
    def configured(cls, settings: ApiSettings) -> "RefreshCookie":
        pages = (settings.public_url, settings.portal_url, *settings.cors_origins)
        return cls(
            secure=settings.environment != "devstack", origins=frozenset(_origin(page) for page in pages if page)
        )

    def holding(self, token: str) -> Cookie:
        return self._cookie(COOKIE, token, LIFETIME)

    def cleared(self) -> Cookie:
        return self._cookie(COOKIE, "", timedelta(0))

    def marking(self, mark: str) -> Cookie:
        return self._cookie(DEVICE_COOKIE, mark, device.LIFETIME)

    def read(self, request: AnyRequest) -> str | None:
        self.refuse_other_sites(request)
        return request.cookies.get(COOKIE)

    def refuse_other_sites(self, request: AnyRequest) -> None:
        """Browsers send both headers with a POST; what sends neither is no browser, with cookies of its own.

        A sub-domain is the same site and still somebody else's page: it must be listed, by the name it gives.
        """
        origin = request.headers.get("origin")
        site = request.headers.get("sec-fetch-site", "none")
        nameless = origin is None and site == "same-site"
        if nameless or site not in _OWN_SITE or (origin is not None and origin not in self.origins):
            raise Forbidden("this call is not taken from another site's page")

    def _cookie(self, name: str, value: str, lifetime: timedelta) -> Cookie:
        return Cookie(
            name,
            value=value,
            max_age=int(lifetime.total_seconds()),
            path=_COOKIE_PATH,
            httponly=True,
            secure=self.secure,
            samesite="strict",
        )


class AuthController(Controller):
    path = "/auth"
    tags = ("accounts",)

    @post(
        "/register",
        permission=Permission.PUBLIC,
        limit="register",
        summary="Open an account; a mail asks to confirm the address",
    )
    async def register(self, registrations: NamedDependency[Registrations], data: JSONBody[Registration]) -> Registered:
        return await registrations.register(data)

    @post(
        "/verify-email",
        permission=Permission.PUBLIC,
        limit="password",
        status_code=200,
        summary="Confirm the address with the token",
    )
    async def verify_email(
        self, registrations: NamedDependency[Registrations], data: JSONBody[EmailProof]
    ) -> EmailVerified:
        return await registrations.verify(data.token)

    @post(
        "/login",
        permission=Permission.PUBLIC,
        limit="login",
        status_code=200,
        summary="Sign in with e-mail address and password",
    )
    async def login(
        self,
        request: AnyRequest,
        accounts: NamedDependency[AccountService],
        refresh_cookie: NamedDependency[RefreshCookie],
        caller: NamedDependency[Caller],
        data: JSONBody[Credentials],
    ) -> Response[AccessGranted | SecondFactorAsked]:
        refresh_cookie.refuse_other_sites(request)
        outcome = await accounts.sign_in(data.email, data.password, caller)
        if isinstance(outcome, SecondFactorAsked):
            return Response(outcome, headers={"Cache-Control": "no-store"})
        return granted(outcome, refresh_cookie)

    @post(
        "/mfa",
        permission=Permission.PUBLIC,
        limit="login",
        status_code=200,
        summary="The second step of a sign-in: the challenge, with a code of the app or a recovery code",
    )
    async def answer_challenge(
        self,
        request: AnyRequest,
        accounts: NamedDependency[AccountService],
        refresh_cookie: NamedDependency[RefreshCookie],
        caller: NamedDependency[Caller],
        data: JSONBody[ChallengeAnswer],
    ) -> Response[AccessGranted]:
        refresh_cookie.refuse_other_sites(request)
        return granted(await accounts.answer_challenge(data.challenge, data, caller), refresh_cookie)

    @post("/refresh", permission=Permission.PUBLIC, status_code=200, summary="A fresh access token for the cookie's")
    async def refresh(
        self,
        request: AnyRequest,
        accounts: NamedDependency[AccountService],
        refresh_cookie: NamedDependency[RefreshCookie],
        caller: NamedDependency[Caller],
    ) -> Response[AccessGranted]:
        token = refresh_cookie.read(request)
        if token is None:
            raise Unauthenticated("there is no refresh cookie; sign in")
        return granted(await accounts.refresh(token, caller), refresh_cookie)

    @post(
        "/logout",
        permission=Permission.PUBLIC,
        status_code=204,
        summary="End this sign-in: the cookie's, and that of the access token",
    )
    async def logout(
        self,
        request: AnyRequest,
        accounts: NamedDependency[AccountService],
        refresh_cookie: NamedDependency[RefreshCookie],
    ) -> Response[None]:
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
    """What the mail's link opens. It only asks: whatever opens links on its own confirms nothing."""
    return link_page.reply(verification_page.asking(token))


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
    """The page's button. No look at where the form came from: without referrers browsers do not tell."""
    try:
        verified = await registrations.verify(data.token)
    except InvalidInput:
        return link_page.reply(verification_page.not_good(), status_code=400)
    return link_page.reply(verification_page.confirmed(verified.email))


class MeController(Controller):
    path = "/me"
    tags = ("accounts",)

    @get("/", permission=Permission.OWN_ACCOUNT, summary="My account")
    async def get_me(self, principal: NamedDependency[Principal], accounts: NamedDependency[AccountService]) -> Me:
        return await accounts.me(principal)

    @patch("/", permission=Permission.OWN_ACCOUNT, summary="Change my name or my company's")
    async def change_me(
        self,
        principal: NamedDependency[Principal],
        accounts: NamedDependency[AccountService],
        data: JSONBody[MyChanges],
    ) -> Me:
        return await accounts.change_me(principal, data)


def granted(signed_in: SignedIn, refresh_cookie: RefreshCookie) -> Response[Any]:
    """Both tokens, each where it belongs, and the device's mark."""
    marks = () if signed_in.device is None else (refresh_cookie.marking(signed_in.device),)
    return Response(
        AccessGranted(signed_in.access_token),
        status_code=200,
        cookies=[refresh_cookie.holding(signed_in.refresh_token), *marks],
        headers={"Cache-Control": "no-store"},
    )


def _origin(url: str) -> str:
    """Scheme and authority, as browsers write them in `Origin`: lower case, without a default port."""
    parts = urlsplit(url.lower())
    default_port = {"http": ":80", "https": ":443"}.get(parts.scheme, "")
    return f"{parts.scheme}://{parts.netloc.removesuffix(default_port)}"
