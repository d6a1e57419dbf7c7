"""Password policy: a password is accepted if it is long enough and not easy to guess.

The second rule is an estimate of how many guesses an informed attacker needs. zxcvbn makes it: it knows common
passwords, words, names, dates, rows of keys, repeats, the usual substitutions, and what is known about this user. There
is no rule about classes of characters, because such rules lead to `Passw0rd!` (NIST SP 800-63B, 5.1.1.2).

The estimate is pure Python, and its time grows with the square of the length. So it sees only the first characters, and
runs off the event loop (billing_api/identity/credentials/password_hashing.py). By default zxcvbn also tries every
combination of look-alikes: a password with the twenty symbols that it reads as letters costs half a second. Here nine
symbols stand for seven letters.
"""

import re
import threading
import unicodedata
from collections.abc import Iterable
from typing import Any, Final

from zxcvbn import zxcvbn  # type: ignore[import-untyped]
from zxcvbn.matching import L33T_TABLE  # type: ignore[import-untyped]

SHORTEST: Final = 10
LONGEST: Final = 128
JUDGED: Final = 32
"""How many characters are estimated: a longer password with this beginning is at least as hard to guess."""
HARD_ENOUGH: Final = 3
"""On zxcvbn's scale of 0 to 4: more than 10^8 guesses, which take years with a slow hash."""

_FEWEST_DIFFERENT: Final = 5
_MOST_FACTS: Final = 50
_SHORTEST_FACT: Final = 4
_OURS: Final = ("nextpanel", "next", "panel", "billing", "hosting", "licence", "license")
_WORD: Final = re.compile(r"[^\W_]+")
_NO_LETTER: Final = re.compile(r"[\W\d_]+")

# Changed in place, because the library's own functions refer to this table.
L33T_TABLE.clear()
L33T_TABLE.update({"a": ["4", "@"], "e": ["3"], "i": ["1", "!"], "l": ["1"], "o": ["0"], "s": ["$", "5"], "t": ["7"]})

# The library keeps the facts about the user in a global variable: one password at a time.
_ONE_AT_A_TIME: Final = threading.Lock()


def normal(password: str) -> str:
    """Unicode NFKC, because keyboards compose an accented letter in different ways."""
    return unicodedata.normalize("NFKC", password)


def length_fault(password: str) -> str | None:
    """The part of `weakness` that is fast and needs no facts about the user."""
    if not SHORTEST <= len(normal(password)) <= LONGEST:
        return f"use a password of {SHORTEST} to {LONGEST} characters"
    return None


def weakness(password: str, about: Iterable[str | None]) -> str | None:
    """Why this password is refused, as a text for its owner; None where it is accepted. The text has no password in it.

    `about`: what others know of the user: address, name, company.
    """
    if (fault := length_fault(password)) is not None:
        return fault
    password = normal(password)
    if len(set(password.casefold())) < _FEWEST_DIFFERENT:
        return f"the password repeats itself: use at least {_FEWEST_DIFFERENT} different characters"
    facts = [*_facts(about), *_OURS]
    if _is_made_of(facts, password.casefold()):
        return "the password is made of what others know, such as your name or address: add other words"
    with _ONE_AT_A_TIME:
        estimate: dict[str, Any] = zxcvbn(password[:JUDGED], facts)
    return None if estimate["score"] >= HARD_ENOUGH else _reason(estimate["feedback"])


def _facts(about: Iterable[str | None]) -> list[str]:
    """Each fact as a whole, its words, and the part of an address before the @; zxcvbn compares lower case."""
    facts: list[str] = []
    for fact in about:
        whole = normal(fact or "").casefold()
        facts += (whole, whole.partition("@")[0], *_WORD.findall(whole))
    return [fact for fact in dict.fromkeys(facts) if len(fact) >= _SHORTEST_FACT][:_MOST_FACTS]


def _is_made_of(facts: list[str], folded: str) -> bool:
    """Whether few letters are left without the facts. Digits and signs do not count: people add them to a name."""
    rest = folded
    for fact in sorted(facts, key=len, reverse=True):
        rest = rest.replace(fact, " ")
    return rest != folded and len(_NO_LETTER.sub("", rest)) < _FEWEST_DIFFERENT


def _reason(feedback: dict[str, Any]) -> str:
    advice = (feedback["warning"], *feedback["suggestions"])
    return " ".join(("the password is easy to guess: choose another.", *(part for part in advice if part)))
