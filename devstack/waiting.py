"""Waiting for a state, never for a time."""

import time
from collections.abc import Callable
from typing import Final

_LOOK_EVERY: Final = 0.02


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Polls `condition` for at most `seconds`; True if it came true."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_LOOK_EVERY)
    return True
