"""Token request of RFC 6749, parsed from bytes: a form, and client credentials in one of two places.

A file of its own between controller and service: it is pure, and the protocol has rules and errors of its own.

    POST oauth/token                      Authorization: Basic base64(urlencode(id) ":" urlencode(secret))     2.3.1
    grant_type=client_credentials&scope=licenses%3Aread          or client_id and client_secret in the form    4.4.2

A parameter without a value counts as absent, an unknown one is ignored, and a repeated one is an error (3.2).
Parameters in the URL are refused before (billing_api/web/undeclared.py), because URLs end up in logs.
"""

import base64
import binascii
import enum
from collections.abc import Collection, Mapping
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, unquote_plus

from typing_extensions import override

FORM: Final = "application/x-www-form-urlencoded"
GRANT_TYPE: Final = "client_credentials"
_MOST_PARAMETERS: Final = 20


class TokenError(enum.StrEnum):
    """The errors of RFC 6749, 5.2, that this grant can have."""

    INVALID_REQUEST = "invalid_request"
    INVALID_CLIENT = "invalid_client"
    UNSUPPORTED_GRANT_TYPE = "unsupported_grant_type"
    INVALID_SCOPE = "invalid_scope"
    UNAUTHORIZED_CLIENT = "unauthorized_client"


class TokenRefused(Exception):
    """An error of RFC 6749, which OAuth clients expect instead of a problem (RFC 9457). `description`: plain ASCII."""

    def __init__(self, error: TokenError, description: str) -> None:
        super().__init__(f"{error.value}: {description}")
        self.error = error
        self.description = description


class TokenRequest(NamedTuple):
    """`scope`: as it was sent; None where it is absent."""

    client_id: str
    client_secret: str
    grant_type: str
    scope: str | None

    @override
    def __repr__(self) -> str:  # without the secret: a traceback must not print it
        return f"TokenRequest({self.client_id!r}, scope={self.scope!r})"


def read(content_type: str, authorization: str | None, body: bytes) -> TokenRequest:
    parameters = _parameters(content_type, body)
    client_id, client_secret = _credentials(authorization, parameters)
    grant_type = parameters.get("grant_type")
    if grant_type is None:
        raise TokenRefused(TokenError.INVALID_REQUEST, f"grant_type is missing: send grant_type={GRANT_TYPE}")
    return TokenRequest(client_id, client_secret, grant_type, parameters.get("scope"))


def granted_scopes(request: TokenRequest, allowed: Collection[str]) -> frozenset[str]:
    """The requested scopes, or all that are allowed where the request names none (3.3)."""
    if request.grant_type != GRANT_TYPE:
        raise TokenRefused(TokenError.UNSUPPORTED_GRANT_TYPE, f"send grant_type={GRANT_TYPE}: no other is supported")
    wanted = frozenset((request.scope or "").split(" ")) - {""} or frozenset(allowed)
    if not wanted <= frozenset(allowed):
        raise TokenRefused(TokenError.INVALID_SCOPE, f"ask only for scopes of this client: {' '.join(sorted(allowed))}")
    return wanted


def _parameters(content_type: str, body: bytes) -> Mapping[str, str]:
    if content_type.partition(";")[0].strip().lower() != FORM:
        raise TokenRefused(TokenError.INVALID_REQUEST, f"send the body as {FORM}")
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MOST_PARAMETERS)
    except ValueError:
        raise TokenRefused(TokenError.INVALID_REQUEST, "send the body as a form in UTF-8") from None
    parameters = dict(pairs)
    if len(parameters) != len(pairs):
        raise TokenRefused(TokenError.INVALID_REQUEST, "a parameter is there more than once: send each one once")
    return {name: value for name, value in parameters.items() if value}


def _credentials(authorization: str | None, parameters: Mapping[str, str]) -> tuple[str, str]:
    in_form = (parameters.get("client_id"), parameters.get("client_secret"))
    if authorization is None:
        if in_form[0] is None or in_form[1] is None:
            raise TokenRefused(TokenError.INVALID_CLIENT, "send client_id and client_secret")
        return in_form[0], in_form[1]
    if in_form[1] is not None:
        raise TokenRefused(
            TokenError.INVALID_REQUEST, "send the credentials either in the Authorization header or in the form"
        )
    client_id, client_secret = _basic(authorization)
    if in_form[0] not in {None, client_id}:
        raise TokenRefused(
            TokenError.INVALID_REQUEST, "client_id differs from the one in the Authorization header: send the same"
        )
    return client_id, client_secret


def _basic(authorization: str) -> tuple[str, str]:
    scheme, _, encoded = authorization.partition(" ")
    try:
        plain = base64.b64decode(encoded.strip(), validate=True).decode() if scheme.lower() == "basic" else ""
        client_id, colon, client_secret = plain.partition(":")
        decoded = unquote_plus(client_id, errors="strict"), unquote_plus(client_secret, errors="strict")
    except (binascii.Error, UnicodeDecodeError):
        raise TokenRefused(
            TokenError.INVALID_CLIENT, "the Authorization header cannot be decoded: send Basic credentials"
        ) from None
    if not (colon and all(decoded)):
        raise TokenRefused(TokenError.INVALID_CLIENT, "send Basic credentials in the Authorization header")
    return decoded
