"""Duplicate headers: a header that may be sent only once is refused when it is sent twice.

The validator refuses the same ones (core/headers.py).
"""

from collections.abc import Iterable

from core.errors import Refusal
from core.headers import repeated


def require_single(headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Refusal names the header. We would have to guess which value counts, and a proxy may guess differently."""
    name = repeated(name for name, _ in headers)
    if name is not None:
        raise Refusal(f"send the header {name.decode('latin-1')} only once")
