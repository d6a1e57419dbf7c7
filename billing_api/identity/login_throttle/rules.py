"""Exponential backoff for password guesses: how long a guesser waits. Pure functions of the counts and `now`.

A count belongs to an account and a guesser. A guesser is an address that is unknown to the account, a device that has
signed in to it before, or a live session. The first guesses are free, then each costs a wait that doubles.

All unknown addresses together have one more count for each account. It stops a thousand addresses with five guesses
each: at most 80 guesses in an hour, where OWASP ASVS 4.0.3 (2.2.1) allows 100. Devices and sessions are not under it.
So a user who has signed in on this device before can always sign in, whatever strangers do.
"""

import enum
from datetime import datetime, timedelta
from typing import Final

import msgspec

FORGOTTEN: Final = timedelta(hours=24)
"""Counts are forgotten this long after the last guess."""
_MOST_DOUBLINGS: Final = 16


class GuesserKind(enum.StrEnum):
    ADDRESS = "address"
    DEVICE = "device"
    SESSION = "session"


class Guesser(msgspec.Struct, frozen=True):
    """`name`: the network, the device's name or the session's id."""

    kind: GuesserKind
    name: str

    @property
    def is_stranger(self) -> bool:
        return self.kind is GuesserKind.ADDRESS


class Backoff(msgspec.Struct, frozen=True):
    free: int
    first: timedelta
    longest: timedelta

    def pause(self, guesses: int) -> timedelta:
        """The wait after the last of `guesses` guesses."""
        if guesses < self.free:
            return timedelta(0)
        doublings: int = min(guesses - self.free, _MOST_DOUBLINGS)
        return min(self.first * (1 << doublings), self.longest)


ONE_GUESSER: Final = Backoff(free=5, first=timedelta(minutes=1), longest=timedelta(hours=1))
ALL_STRANGERS: Final = Backoff(free=40, first=timedelta(seconds=90), longest=timedelta(seconds=90))


def guesses_so_far(guesses: int, counted_at: datetime, now: datetime) -> int:
    return 0 if now - counted_at >= FORGOTTEN else guesses
