"""Numbers with their noun in texts for people: `1 second`, `2 seconds`.

`make check` finds an f-string that writes a number that varies before a plural (devstack/wording.py).
"""

from typing import Final

_IRREGULAR: Final = {"try": "tries"}


def counted(number: int, noun: str, form: str = "") -> str:
    """`form`: how the number is written, as in a format specification: `,` for 1,000,000.

    A noun of several words has its plural at the end: "API key".
    """
    return f"{number:{form}} {noun if number == 1 else plural(noun)}"


def plural(noun: str) -> str:
    return _IRREGULAR.get(noun, f"{noun}s")
