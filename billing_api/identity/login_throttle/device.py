"""A device that has signed in before, told by a cookie: OWASP's "device cookies".

    mark = name "." proof *( "." proof )
    name   128 random bits, the same for as long as the browser keeps the cookie
    proof  keyed hash of (user id, name): one for each account that signed in here, the latest first, five at most

A mark opens nothing. It only says whose count a guess goes to: a device's guesses are its own, and no guesses of
strangers keep it waiting. A thief of it gains five guesses before waits begin. Hence nothing is stored, and it
lives a year. Only this server can make a proof, and proofs are bound to user ids, which are not told to strangers.

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

    def name(self, mark: str | None, user_id: UUID | None) -> str | None:
        """The device's name where this user has signed in with it; None also where there is no such user."""
        name, proofs = _read(mark)
        proof = self._proof(user_id or _NOBODY, name)
        known = [hmac.compare_digest(proof, other) for other in proofs]
        return name if any(known) and user_id is not None else None

    def mark(self, present: str | None, user_id: UUID) -> str:
        """What the device is to keep from now on, so that this user is known on it."""
        name, proofs = _read(present)
        name = name or new_token(16)
        proof = self._proof(user_id, name)
        others = [other for other in proofs if other != proof]
        return ".".join((name, proof, *others[: _MOST_ACCOUNTS - 1]))

    def _proof(self, user_id: UUID, name: str) -> str:
        digest = self._keyed_hash.digest("device", f"{user_id} {name}")
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _read(mark: str | None) -> tuple[str, list[str]]:
    """Name and proofs; nothing where it is none of ours."""
    match = _FORM.fullmatch(mark or "")
    return (match[1], match[2].split(".")[1:]) if match else ("", [])
