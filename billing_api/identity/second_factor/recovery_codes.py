"""Recovery codes: ten codes that work once each, for a user who has lost the authenticator app.

    K7QW-3F9D-M2XA-8RTC      16 symbols of Crockford's base32: 80 random bits

Nobody can guess one, so wrong ones are not counted, and they are stored as a hash without salt or stretching. The hash
is keyed, so that a reader of the table cannot even check a code. The owner's id is part of the hash, so that a code
works for one account only.
"""

import re
import secrets
from typing import Final
from uuid import UUID

from core.crypto.sealing import KeyedHash

COUNT: Final = 10

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_SYMBOLS: Final = 16
_LOOK_ALIKES: Final = str.maketrans("OIL", "011")
_BETWEEN: Final = re.compile(r"[\s-]+")


def new_set() -> list[str]:
    return [_one() for _ in range(COUNT)]


def stored_hash(code: str, user_id: UUID, keyed_hash: KeyedHash) -> bytes:
    """The same for every way to write the code: lower case, without dashes, the letter O for a zero."""
    plain = _BETWEEN.sub("", code).upper().translate(_LOOK_ALIKES)
    return keyed_hash.digest("recovery_code", f"{user_id}\n{plain}")


def _one() -> str:
    symbols = "".join(secrets.choice(_ALPHABET) for _ in range(_SYMBOLS))
    return "-".join(symbols[start : start + 4] for start in range(0, _SYMBOLS, 4))
