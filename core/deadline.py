"""Request deadline, carried in a context variable: how long the calls of this request may still take.

The billing API answers each request within a time limit (billing_api/server/request_layer.py). Calls to a partner
have to end sooner, so that there is time left to record their result and to answer. Jobs of the workers have no such
deadline: the time of their claim is their limit.
"""

from contextvars import ContextVar
from typing import Final

MAY_HAVE_HAPPENED: Final = "it may have happened; send the same request with the same Idempotency-Key"
"""The answer to a request that reached its deadline during a call to a partner, or during its COMMIT."""


class Deadline:
    """`partners_until`: loop time until which partners may be called. `in_doubt`: it may have had an effect."""

    __slots__ = ("in_doubt", "partners_until")

    def __init__(self, partners_until: float) -> None:
        self.partners_until = partners_until
        self.in_doubt = False


DEADLINE: Final[ContextVar[Deadline | None]] = ContextVar("deadline", default=None)


def in_doubt() -> None:
    """Call this before a step whose effect stays unknown if its end is not seen: a COMMIT, a call to a partner."""
    deadline = DEADLINE.get()
    if deadline is not None:
        deadline.in_doubt = True
