"""Routes that the benchmark calls, and their requests: one for each customer, in turn."""

import secrets
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from bench.api.people import Crowd, Person

_API: Final = "/api/v1"
_CHANGES: Final = 5
"""Names that a customer takes in turn."""


class Route(NamedTuple):
    name: str
    method: str
    path: str
    """Under /api/v1; `{license_id}` is the customer's."""
    signed_in: bool = True


READS: Final = (
    Route("plans", "GET", "/plans", signed_in=False),
    Route("me", "GET", "/me"),
    Route("licenses", "GET", "/licenses?limit=20"),
    Route("license", "GET", "/licenses/{license_id}"),
    Route("usage", "GET", "/licenses/{license_id}/usage"),
    Route("invoices", "GET", "/invoices?limit=20"),
    Route("overview", "GET", "/overview"),
)
WRITES: Final = (
    Route("checkout", "POST", "/checkout/sessions"),
    Route("change-me", "PATCH", "/me"),
)
SIGN_IN: Final = Route("sign-in", "POST", "/auth/login", signed_in=False)
ROUTES: Final = (*READS, *WRITES)


def requests(route: Route, crowd: Crowd, tokens: Sequence[str]) -> list[bytes]:
    """`tokens`: the customers', in their order. A change has another value each time, or an ORM would write nothing."""
    turns = [secrets.token_hex(4) for _ in range(_CHANGES if route.name == "change-me" else 1)]
    signed_in = list(zip(crowd.people, tokens, strict=True))
    return [_request(route, one, token, crowd, turn) for turn in turns for one, token in signed_in]


def _request(route: Route, one: Person, token: str, crowd: Crowd, turn: str) -> bytes:
    body = _body(route, one, crowd, turn)
    lines = [
        f"{route.method} {_API}{route.path.format(license_id=one.license_id)} HTTP/1.1",
        "Host: 127.0.0.1",
        "Accept: application/json",
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    ]
    if route.signed_in:
        lines.append(f"Authorization: Bearer {token}")
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _body(route: Route, one: Person, crowd: Crowd, turn: str) -> bytes:
    contents = {
        "checkout": {"plan_id": str(one.plan_id), "interval": "month"},
        "change-me": {"full_name": f"Customer {turn}"},
        "sign-in": {"email": one.email, "password": crowd.password},
    }
    content = contents.get(route.name)
    return b"" if content is None else msgspec.json.encode(content)
