"""Query string of a request target, read like a form (`a=1&b=2`): its names and values."""

from collections.abc import Sequence
from urllib.parse import parse_qsl


def pairs(query: bytes) -> Sequence[tuple[str, str]]:
    """Names and values, percent-decoded, so that all spellings of a name are equal.

    Bytes that are no UTF-8 become U+FFFD, which is in no declared name. `a&b=` are two names without a value, `=1` has
    an empty name; nothing between two `&` counts as nothing.
    """
    return parse_qsl(query.decode("utf-8", "replace"), keep_blank_values=True)
