"""Rules of the second factor: how long a challenge and an enrollment last, and how many tries they have."""

from datetime import timedelta
from typing import Final

CHALLENGE_LIFETIME: Final = timedelta(minutes=5)


CHALLENGE_TRIES: Final = 5
ENROLLMENT_LIFETIME: Final = timedelta(minutes=15)
