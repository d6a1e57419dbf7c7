"""The query of a target, read as forms are (`a=1&b=2`): which names stand in it."""

from collections.abc import Sequence
from urllib.parse import parse_qsl


def pairs(query: bytes) -> Sequence[tuple[str, str]]:
    """Names and values with their percent-encoding undone, so that every spelling of a name is that name.

    What is no UTF-8 becomes U+FFFD, and is no name that anybody declares. `a&b=` are two names without a value, `=1`
    an empty name; nothing between two `&` is nothing.
    """
    return parse_qsl(query.decode("utf-8", "replace"), keep_blank_values=True)
