"""Requests of signed-in customers, in the mix in which people look at their pages."""

import random
from collections.abc import Sequence
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

_MIX: Final = (
    (40, "GET", "/api/v1/licenses?limit=20"),
    (20, "GET", "/api/v1/licenses/{license_id}/usage"),
    (15, "GET", "/api/v1/me"),
    (15, "GET", "/api/v1/overview"),
    (5, "GET", "/api/v1/invoices"),
    (5, "PATCH", "/api/v1/me"),
)
"""Percent, method, path."""
_CHANGE: Final = msgspec.json.encode({"full_name": "Seeded Customer"})


class SignedIn(msgspec.Struct, frozen=True):
    """A customer with an access token, and a license to look at."""

    license_id: str
    access_token: str


class CustomersTarget(NamedTuple):
    """The billing API's URL, and who asks it."""

    url: str
    people: Sequence[SignedIn]

    @property
    def asked(self) -> str:
        return "requests of signed-in customers"

    @property
    def settings(self) -> dict[str, int]:
        return {"customers": len(self.people)}

    def told(self, _answered: float) -> dict[str, float]:
        return {}

    def calls(self, _plan: object) -> "CustomerCalls":
        return CustomerCalls(self.url, self.people)


class CustomerCalls:
    """Endless: each request is another customer's, as if drawn by lot."""

    def __init__(self, url: str, people: Sequence[SignedIn], *, random_numbers: random.Random | None = None) -> None:
        self._host = urlsplit(url).netloc
        self._people = people
        self._random = random_numbers or random.Random()
        self._weights = [share for share, _, _ in _MIX]

    def take(self) -> bytes:
        ((_, method, path),) = self._random.choices(_MIX, self._weights)
        one = self._random.choice(self._people)
        body = _CHANGE if method == "PATCH" else b""
        length = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
        head = (
            f"{method} {path.format(license_id=one.license_id)} HTTP/1.1\r\nHost: {self._host}\r\n"
            f"Authorization: Bearer {one.access_token}\r\n{length}\r\n"
        )
        return head.encode() + body

    def outcome(self, _body: bytes) -> str:
        return "answered"
