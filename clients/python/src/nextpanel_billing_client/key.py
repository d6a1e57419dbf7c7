"""A license key as people paste it, in the form in which the service writes it.

Keys come out of mails, chats and documents, whose programs put typographic dashes in place of plain ones and invisible
characters beside them. The service forgives the same (its core/licensing/key.py, whose rules stand here once more, so
that this package needs nothing of the service's; a test holds the two together). Here it makes one lease out of all the
ways in which one key is written.
"""

import unicodedata
from typing import Final

_READ_AS: Final = str.maketrans("OIL", "011", "- \t\n\v\f\r")
_PREFIX: Final = "NP"
_SYMBOLS: Final = 12
_LONGEST: Final = 64
_ODD_DASHES: Final = frozenset("\u02d7\u2043\u207b\u208b\u2212\u2500")
"""Dashes that Unicode does not count among its dashes: modifier and bullet, superscript, subscript, minus, a line."""
_ODD_BLANKS: Final = frozenset("\u034f\u115f\u1160\u2800\u3164\uffa0").union(
    map(chr, range(0xFE00, 0xFE10)), map(chr, range(0xE0100, 0xE01F0))
)
"""Invisible characters that count as letters or marks: fillers, an empty pattern, variation selectors."""
_ODD: Final = _ODD_DASHES | _ODD_BLANKS
_LEFT_OUT: Final = frozenset({"Pd", "Cf", "Zs", "Zl", "Zp", "Cc"})
"""Dashes, invisible characters, spaces."""


def tidy(typed: str) -> str:
    """`NP-XXXX-XXXX-XXXX` where it can be read so; else what was typed, in capitals."""
    read = _plain(typed).strip().upper() if len(typed) <= _LONGEST else ""
    symbols = read[len(_PREFIX) :].translate(_READ_AS)
    if not read.startswith(_PREFIX) or len(symbols) != _SYMBOLS:
        return typed.strip().upper()
    return f"{_PREFIX}-{symbols[:4]}-{symbols[4:8]}-{symbols[8:]}"


def _plain(typed: str) -> str:
    if typed.isascii():
        return typed
    folded = unicodedata.normalize("NFKC", "".join(each for each in typed if each not in _ODD))
    return "".join(each for each in folded if unicodedata.category(each) not in _LEFT_OUT)
