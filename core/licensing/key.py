"""License key: `NP-XXXX-XXXX-XXXX` in Crockford's base32, its last symbol a keyed checksum.

Eleven random symbols carry 55 bits. The twelfth is taken from an HMAC of the eleven, so that 31 of 32 guesses, and
every mistyped last symbol, are refused without asking any store. Lower case, missing dashes and the look-alikes that
Crockford names (O for 0, I and L for 1) are read as what was meant (https://www.crockford.com/base32.html).

Keys are also pasted from mails, chats and documents, which change them. So any dash, any space, any invisible character
(zero-width, byte order mark, soft hyphen) and full-width letters are accepted.
"""

import secrets
import unicodedata
from functools import lru_cache
from typing import Final

from core.crypto.mac import Mac

ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LETTERS: Final = frozenset(ALPHABET)
_PREFIX: Final = "NP"
_SYMBOLS: Final = 12
HINT_LENGTH: Final = 4
_READ_AS: Final = str.maketrans("OIL", "011", "- \t\n\v\f\r")
_LONGEST: Final = 64
_ODD_DASHES: Final = frozenset("\u02d7\u2043\u207b\u208b\u2212\u2500")
"""Dashes that Unicode does not count among its dashes: modifier and bullet, superscript, subscript, minus, a line."""
_ODD_BLANKS: Final = frozenset("\u034f\u115f\u1160\u2800\u3164\uffa0").union(
    map(chr, range(0xFE00, 0xFE10)), map(chr, range(0xE0100, 0xE01F0))
)
"""Invisible characters that count as letters or marks: fillers, an empty pattern, variation selectors."""
_ODD: Final = _ODD_DASHES | _ODD_BLANKS
_LEFT_OUT: Final = frozenset({"Pd", "Cf", "Zs", "Zl", "Zp", "Cc"})
"""Unicode's categories of dashes, invisible characters and spaces."""
_CHECKSUM_PURPOSE: Final = b"license key checksum\n"


def generate(checksum_key: bytes) -> str:
    payload = "".join(secrets.choice(ALPHABET) for _ in range(_SYMBOLS - 1))
    return _dashed(payload + _checksum(payload, checksum_key))


def parse(text: str, checksum_key: bytes) -> str | None:
    """The canonical form of a typed key, or None where it cannot be a key of ours."""
    if len(text) > _LONGEST:
        return None
    symbols = (text if text.isascii() else _plain(text)).strip().upper()
    if not symbols.startswith(_PREFIX):
        return None
    symbols = symbols[len(_PREFIX) :].translate(_READ_AS)
    if len(symbols) != _SYMBOLS or not _LETTERS.issuperset(symbols):
        return None
    if symbols[-1] != _checksum(symbols[:-1], checksum_key):
        return None
    return _dashed(symbols)


def hint(key: str) -> str:
    """The last four symbols of a canonical key. They leave 40 bits secret: eight random symbols of five bits each."""
    return key[-HINT_LENGTH:]


def read_hint(text: str) -> str | None:
    """The last four symbols of a key as somebody typed them, in canonical form; None where it cannot be these."""
    symbols = text.strip().upper().translate(_READ_AS)
    return symbols if len(symbols) == HINT_LENGTH and _LETTERS.issuperset(symbols) else None


def _plain(text: str) -> str:
    """The text without dashes, spaces and invisible characters. Those that NFKC would change are removed first."""
    folded = unicodedata.normalize("NFKC", "".join(each for each in text if each not in _ODD))
    return "".join(each for each in folded if unicodedata.category(each) not in _LEFT_OUT)


def _checksum(payload: str, checksum_key: bytes) -> str:
    return ALPHABET[_mac(checksum_key).digest(_CHECKSUM_PURPOSE + payload.encode())[0] & 31]


@lru_cache(maxsize=8)
def _mac(checksum_key: bytes) -> Mac:
    """A process has one such key."""
    return Mac(checksum_key)


def _dashed(symbols: str) -> str:
    return f"{_PREFIX}-{symbols[:4]}-{symbols[4:8]}-{symbols[8:]}"
