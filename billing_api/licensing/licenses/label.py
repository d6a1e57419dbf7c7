"""Label of a license: its owner's own name for it, in one spelling.

It is stored in Unicode's NFC without white space around it. So two labels that look alike are the same text, whatever
the keyboard made of them. A file of its own: the wire and the use case need the same rule.
"""

import unicodedata
from typing import Annotated, Final

import msgspec

from billing_api.web.text_patterns import ONE_LINE, ONE_LINE_IN_WORDS
from core.errors import FieldError, InvalidInput
from core.field_errors import FORM, JUDGE

LONGEST: Final = 80
_LONGEST_SENT: Final = 4 * LONGEST
"""Before NFC, in which a letter with its marks is one character; some keyboards send several."""


def fault(text: str) -> str | None:
    return None if len(canonical(text)) <= LONGEST else f"must have at most {LONGEST} characters"


def canonical(text: str) -> str:
    return unicodedata.normalize("NFC", text).strip()


def checked(text: str) -> str:
    """The label as it is stored. InvalidInput where it is too long."""
    if told := fault(text):
        raise InvalidInput(f"label {told}", errors=(FieldError("label", told, "too_long", {"max": LONGEST}),))
    return canonical(text)


Label = Annotated[
    str,
    msgspec.Meta(
        max_length=_LONGEST_SENT,
        pattern=ONE_LINE,
        description=f"At most {LONGEST} characters in one line.",
        examples=["Shop, Graz"],
        extra={FORM: ONE_LINE_IN_WORDS, JUDGE: fault},
    ),
]
