"""How long a request may still take, known to what it calls: a deadline in the context of its task.

A request to the billing API is answered within a time (billing_api/server/answer_deadline.py). What it asks of a
partner has to end sooner, so that there is time left to write down what came of it, and to say so. Jobs of the workers
have no such deadline: their lease is their limit.
"""

from contextvars import ContextVar
from typing import Final

MAY_HAVE_HAPPENED: Final = "it may have happened; send the same request with the same Idempotency-Key"
"""What a caller is told whose request came to its deadline while a partner was asked, or while it was committed."""


class Deadline:
    """`partners_until`: the loop's time, up to which partners may be asked. `in_doubt`: something may have happened."""

    __slots__ = ("in_doubt", "partners_until")

    def __init__(self, partners_until: float) -> None:
        self.partners_until = partners_until
        self.in_doubt = False


DEADLINE: Final[ContextVar[Deadline | None]] = ContextVar("deadline", default=None)


def in_doubt() -> None:
    """Said before a step whose effect nobody can tell if it is not seen to end: a COMMIT, a call to a partner."""
    deadline = DEADLINE.get()
    if deadline is not None:
        deadline.in_doubt = True
