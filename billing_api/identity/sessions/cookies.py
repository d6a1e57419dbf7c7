"""Cookies of sign-in (refresh token and device) and their protection against cross-site request forgery (CSRF).

The refresh token is in a cookie that scripts cannot read and that browsers send to the sign-in routes only. A browser
adds the cookie also to requests that another site's page caused. So the routes that set or read it refuse such
requests. `SameSite=Strict` is the first defense, the headers that browsers add are the second.
"""

from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from litestar import Request, Response
from litestar.datastructures import Cookie

from billing_api.access.caller import DEVICE_COOKIE
from billing_api.identity.login_throttle import device
from billing_api.identity.sessions.refresh_tokens import LIFETIME
from billing_api.identity.sessions.schemas import AccessGranted
from billing_api.identity.sessions.sign_in import SignedIn
from core.errors import Forbidden
from core.settings import ApiSettings

AnyRequest = Request[Any, Any, Any]

COOKIE: Final = "np_refresh"
_COOKIE_PATH: Final = "/api/v1/auth"
_OWN_SITE: Final = frozenset({"same-origin", "same-site", "none"})


class RefreshCookie(msgspec.Struct, frozen=True):
    """Makes and reads the cookies. `origins`: the pages that may use them, as browsers write them in `Origin`."""

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

    def for_device(self, value: str) -> Cookie:
        return self._cookie(DEVICE_COOKIE, value, device.LIFETIME)

    def read(self, request: AnyRequest) -> str | None:
        self.refuse_other_sites(request)
        return request.cookies.get(COOKIE)

    def refuse_other_sites(self, request: AnyRequest) -> None:
        """Forbidden where `Origin` or `Sec-Fetch-Site` shows another site. A client that sends neither is no browser.

        A sub-domain counts as the same site for browsers, but it may be somebody else's page. So its origin must be
        listed.
        """
        origin = request.headers.get("origin")
        site = request.headers.get("sec-fetch-site", "none")
        is_unnamed = origin is None and site == "same-site"
        if is_unnamed or site not in _OWN_SITE or (origin is not None and origin not in self.origins):
            raise Forbidden("this call came from another site's page: call it from our own pages")

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


def tokens_response(signed_in: SignedIn, refresh_cookie: RefreshCookie) -> Response[Any]:
    """The access token in the body, the refresh token and the device in cookies."""
    device_cookies = () if signed_in.device is None else (refresh_cookie.for_device(signed_in.device),)
    return Response(
        AccessGranted(signed_in.access_token),
        status_code=200,
        cookies=[refresh_cookie.holding(signed_in.refresh_token), *device_cookies],
        headers={"Cache-Control": "no-store"},
    )


def _origin(url: str) -> str:
    """Scheme and authority as browsers write them in `Origin`: lower case, without a default port."""
    parts = urlsplit(url.lower())
    default_port = {"http": ":80", "https": ":443"}.get(parts.scheme, "")
    return f"{parts.scheme}://{parts.netloc.removesuffix(default_port)}"
