"""Canonical form of an e-mail address: one key for one mailbox, however its address is spelled.

    José@MÜNCHEN.example          José@xn--mnchen-3ya.example          jose + U+0301 @ｍünchen。example
    → josé@münchen.example

Letters may be composed or decomposed, wide or compatible (Unicode's NFKC, as UTS 46 maps them too), a domain's label
may stand in Unicode or in Punycode (RFC 3492), and the dots of a domain have four forms. Case never counts here, in the
local part either. Invisible characters are left out. An address is kept, shown and mailed to as it was typed; the key
is only compared.

Registering, signing in, changing an address and searching use this one function. Its result is stored beside the
address (`email_key`): a change of the function needs a migration that computes all keys anew.
"""

import re
import unicodedata
from typing import Final

_DOTS: Final = str.maketrans("。．｡", "...")
_UNSEEN: Final = re.compile(
    "[\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff]"
)
_ENCODED: Final = "xn--"
_LONGEST_LABEL: Final = 63


def mailbox_key(address: str) -> str:
    """Never fails: a text that is no address is folded as text."""
    local_part, at, domain_name = _folded(address).rpartition("@")
    labels = (_in_unicode(label) for label in domain_name.translate(_DOTS).split("."))
    return f"{local_part}{at}{'.'.join(labels)}"


def folded_part(text: str) -> str:
    """A part of an address, folded like a whole one as far as possible, for a search in keys."""
    return _folded(text)


def _folded(text: str) -> str:
    """Folds twice, because lower case may produce a letter that composes in another way."""
    for _ in range(2):
        text = unicodedata.normalize("NFKC", _UNSEEN.sub("", unicodedata.normalize("NFKC", text)).lower())
    return text


def _in_unicode(label: str) -> str:
    if not label.startswith(_ENCODED) or len(label) > _LONGEST_LABEL:
        return label
    try:
        decoded = _folded(label.removeprefix(_ENCODED).encode("ascii").decode("punycode"))
    except (UnicodeError, ValueError, OverflowError):
        return label
    return decoded if decoded and "@" not in decoded and "." not in decoded else label
