"""A header that may stand only once and stands twice is refused, as the validator does (core/headers.py)."""

from collections.abc import Iterable

from core.errors import Refusal
from core.headers import repeated


def require_single(headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Refusal names the header. Which of the two counts would be a guess, and a proxy's may differ from ours."""
    name = repeated(name for name, _ in headers)
    if name is not None:
        raise Refusal(f"send the header {name.decode('latin-1')} only once")
