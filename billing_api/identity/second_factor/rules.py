"""Limits of the second factor: lifetimes of a challenge and of an enrollment, and the tries of a challenge."""

from datetime import timedelta
from typing import Final

CHALLENGE_LIFETIME: Final = timedelta(minutes=5)
CHALLENGE_TRIES: Final = 5
ENROLLMENT_LIFETIME: Final = timedelta(minutes=15)
