"""The cookie of the refresh token: its attributes, and who may make a browser send it.

The refresh token lives in a cookie that scripts cannot read and that is sent to the routes of sign-in alone. A browser
adds a cookie to every request, also where another site's page caused it. So the routes that set or read it refuse such
requests: `SameSite=Strict` is the first defense, the headers that browsers add are the second.
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
