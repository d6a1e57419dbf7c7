"""Which passwords are taken: long enough, and not among those that are guessed first.

Length is one bound; the other is an estimate of how many guesses an informed attacker needs (zxcvbn: common passwords,
words, names, dates, rows of keys, repeats, the usual substitutions, and whatever is known about this person). No rule
about classes of characters: those breed `Passw0rd!` (NIST SP 800-63B, 5.1.1.2).

The estimate is pure Python and its time grows with the square of the length, so it looks at the first characters only,
and off the event loop (billing_api/identity/credentials/password_hashing.py). Left alone it would also try every
combination of look-alikes: the twenty symbols it knows as letters, in one password, cost half a second. Here nine
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
"""So many characters are looked at: whatever begins with these is at least as hard to guess."""
HARD_ENOUGH: Final = 3
"""On zxcvbn's scale of 0 to 4: more than 10^8 guesses, which a slow hash turns into years."""

_FEWEST_DIFFERENT: Final = 5
_MOST_FACTS: Final = 50
_SHORTEST_FACT: Final = 4
_OURS: Final = ("nextpanel", "next", "panel", "billing", "hosting", "licence", "license")
_WORD: Final = re.compile(r"[^\W_]+")
_NO_LETTER: Final = re.compile(r"[\W\d_]+")

# In place, for the library's own functions hold on to this very table; also when they call one another.
L33T_TABLE.clear()
L33T_TABLE.update({"a": ["4", "@"], "e": ["3"], "i": ["1", "!"], "l": ["1"], "o": ["0"], "s": ["$", "5"], "t": ["7"]})

# The library keeps the facts about the person in a global of its own: one password at a time.
_ONE_AT_A_TIME: Final = threading.Lock()


def normal(password: str) -> str:
    """One spelling of what looks alike: keyboards differ in how they compose an accented letter (Unicode NFKC)."""
    return unicodedata.normalize("NFKC", password)


def length_fault(password: str) -> str | None:
    """The part of `weakness` that costs nothing, and needs no knowledge of the person."""
    if not SHORTEST <= len(normal(password)) <= LONGEST:
        return f"a password has {SHORTEST} to {LONGEST} characters"
    return None


def weakness(password: str, about: Iterable[str | None]) -> str | None:
    """Why this password is not taken, for its owner to read; None where it is. The password is not in the reason.

    `about`: what others know of the person: address, name, company.
    """
    if (fault := length_fault(password)) is not None:
        return fault
    password = normal(password)
    if len(set(password.casefold())) < _FEWEST_DIFFERENT:
        return f"the password repeats itself: use at least {_FEWEST_DIFFERENT} different characters"
    facts = [*_facts(about), *_OURS]
    if _is_made_of(facts, password.casefold()):
        return "the password is made of what others know: your name, address or company, or our product's name"
    with _ONE_AT_A_TIME:
        estimate: dict[str, Any] = zxcvbn(password[:JUDGED], facts)
    return None if estimate["score"] >= HARD_ENOUGH else _reason(estimate["feedback"])


def _facts(about: Iterable[str | None]) -> list[str]:
    """Each of them whole, in its words, and an address's part before the @; the library compares lower case."""
    facts: list[str] = []
    for fact in about:
        whole = normal(fact or "").casefold()
        facts += (whole, whole.partition("@")[0], *_WORD.findall(whole))
    return [fact for fact in dict.fromkeys(facts) if len(fact) >= _SHORTEST_FACT][:_MOST_FACTS]


def _is_made_of(facts: list[str], folded: str) -> bool:
    """Whether little is left once they are taken out. Digits and signs around a name are what people add to it."""
    rest = folded
    for fact in sorted(facts, key=len, reverse=True):
        rest = rest.replace(fact, " ")
    return rest != folded and len(_NO_LETTER.sub("", rest)) < _FEWEST_DIFFERENT


def _reason(feedback: dict[str, Any]) -> str:
    told = (feedback["warning"], *feedback["suggestions"])
    return " ".join(("the password is among those that are guessed first.", *(part for part in told if part)))
