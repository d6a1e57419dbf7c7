"""Signed-in user: signs in again now and then, because access tokens last a quarter of an hour."""

from collections.abc import Collection
from time import monotonic
from typing import Any, Final

from loadtest.scenarios.caller import Caller, Content, Dropped, Reply

API: Final = "/api/v1"
_SIGN_IN_EACH: Final = 600.0
_TURNED_AWAY: Final = frozenset({429, 503})
_TRIES: Final = 10


class Person(Caller):
    abstract = True

    email = password = ""
    _token = ""
    _signed_in = float("-inf")

    def mine(
        self,
        method: str,
        path: str,
        content: Content | None = None,
        *,
        name: str,
        refusals: Collection[int] = (),
        headers: dict[str, str] | None = None,
    ) -> Reply:
        """A call in this person's name; `path` and `name` without the API's prefix."""
        if monotonic() - self._signed_in > _SIGN_IN_EACH:
            self.sign_in()
        headers = {"Authorization": f"Bearer {self._token}", **(headers or {})}
        return self.call(method, API + path, content, name=name, headers=headers, refusals=refusals)

    def sign_in(self) -> None:
        """The API takes so many sign-ins at once, and few of one account; the others come back, as a browser would."""
        content = {"email": self.email, "password": self.password}
        for _ in range(_TRIES):
            answer = self.call("POST", f"{API}/auth/login", content, name="/auth/login", refusals=_TURNED_AWAY)
            if answer.status not in _TURNED_AWAY:
                self._token, self._signed_in = answer.body["access_token"], monotonic()
                return
            self.pause(3)
        self.complain("/auth/login", f"turned away {_TRIES} times")
        raise Dropped

    def items(self, path: str, *, name: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.mine("GET", path, name=name).body["items"]
        return found
