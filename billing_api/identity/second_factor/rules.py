"""Rules of the second factor: how long a challenge and an enrolment last, and how many tries they have."""

from datetime import timedelta
from typing import Final

CHALLENGE_LIFETIME: Final = timedelta(minutes=5)


CHALLENGE_TRIES: Final = 5
ENROLMENT_LIFETIME: Final = timedelta(minutes=15)
