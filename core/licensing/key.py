"""The licence key: `NP-XXXX-XXXX-XXXX` in Crockford's base32, its last symbol a keyed checksum.

Eleven random symbols carry 55 bits. The twelfth is taken from an HMAC of the eleven, so that 31 of 32 guesses and every
single mistyped last symbol are refused without asking any store. Lower case, missing dashes and the look-alikes that
Crockford names (O for 0, I and L for 1) are read as what was meant (https://www.crockford.com/base32.html).
"""

import hashlib
import hmac
import secrets
from typing import Final

ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LETTERS: Final = frozenset(ALPHABET)
_PREFIX: Final = "NP"
_SYMBOLS: Final = 12
_READ_AS: Final = str.maketrans("OIL", "011", "-")
_LONGEST: Final = 32
_CHECKSUM_PURPOSE: Final = b"license key checksum\n"


def generate(checksum_key: bytes) -> str:
    payload = "".join(secrets.choice(ALPHABET) for _ in range(_SYMBOLS - 1))
    return _dashed(payload + _checksum(payload, checksum_key))


def parse(text: str, checksum_key: bytes) -> str | None:
    """The canonical form of what somebody typed, or None where it cannot be a key of ours."""
    if len(text) > _LONGEST:
        return None
    symbols = text.strip().upper()
    if not symbols.startswith(_PREFIX):
        return None
    symbols = symbols[len(_PREFIX) :].translate(_READ_AS)
    if len(symbols) != _SYMBOLS or not _LETTERS.issuperset(symbols):
        return None
    if symbols[-1] != _checksum(symbols[:-1], checksum_key):
        return None
    return _dashed(symbols)


def _checksum(payload: str, checksum_key: bytes) -> str:
    return ALPHABET[hmac.digest(checksum_key, _CHECKSUM_PURPOSE + payload.encode(), hashlib.sha256)[0] & 31]


def _dashed(symbols: str) -> str:
    return f"{_PREFIX}-{symbols[:4]}-{symbols[4:8]}-{symbols[8:]}"
