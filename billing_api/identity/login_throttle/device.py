"""Device cookies (OWASP): recognize a device that has signed in before.

    cookie = name "." proof *( "." proof )
    name     128 random bits, the same for as long as the browser keeps the cookie
    proof    keyed hash of (user id, name): one for each account that signed in here, the latest first, five at most

The cookie gives no access. It only decides which count a guess goes to: a device has a count of its own, so guesses of
strangers never make it wait. A thief of the cookie gains five guesses before the waits begin. So the server stores
nothing, and the cookie lives a year. Only this server can make a proof, and proofs are bound to user ids, which
strangers do not learn.

Source: owasp.org/www-community/Slow_Down_Online_Guessing_Attacks_with_Device_Cookies. There the cookie names its
account in the clear; ours does not.
"""

import base64
import hmac
import re
from datetime import timedelta
from typing import Final
from uuid import UUID

from core.crypto.sealing import KeyedHash
from core.ids import new_token

LIFETIME: Final = timedelta(days=365)
_MOST_ACCOUNTS: Final = 5
_FORM: Final = re.compile(r"([A-Za-z0-9_-]{22})((?:\.[A-Za-z0-9_-]{43}){1,5})")
_NOBODY: Final = UUID(int=0)


class Devices:
    def __init__(self, keyed_hash: KeyedHash) -> None:
        self._keyed_hash = keyed_hash

    def name(self, cookie: str | None, user_id: UUID | None) -> str | None:
        """The device's name where this user has signed in with it; None also where there is no such user."""
        name, proofs = _read(cookie)
        proof = self._proof(user_id or _NOBODY, name)
        known = [hmac.compare_digest(proof, other) for other in proofs]
        return name if any(known) and user_id is not None else None

    def cookie_for(self, present: str | None, user_id: UUID) -> str:
        """The cookie that the device should keep from now on, so that this user is known on it."""
        name, proofs = _read(present)
        name = name or new_token(16)
        proof = self._proof(user_id, name)
        others = [other for other in proofs if other != proof]
        return ".".join((name, proof, *others[: _MOST_ACCOUNTS - 1]))

    def _proof(self, user_id: UUID, name: str) -> str:
        digest = self._keyed_hash.digest("device", f"{user_id} {name}")
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _read(cookie: str | None) -> tuple[str, list[str]]:
    """Name and proofs; both empty where it is none of our cookies."""
    match = _FORM.fullmatch(cookie or "")
    return (match[1], match[2].split(".")[1:]) if match else ("", [])
