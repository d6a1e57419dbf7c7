"""Waiting times of password guesses. Pure: what was counted and `now` in, a wait out.

A count belongs to an account and a guesser: an address that the account has never been used from, a device that has
signed in to it before, or a session that is signed in. Some guesses are free, then each costs a wait that doubles.
Beside that all addresses together, as far as no device of the account is behind them, have a count of their own. It
stops a thousand addresses with five guesses each: at most 80 in an hour, where OWASP ASVS 4.0.3 (2.2.1) allows 100.
Devices and sessions are not under it, so strangers cannot keep out a user who has signed in here before.
"""

import enum
from datetime import datetime, timedelta
from typing import Final

import msgspec

FORGOTTEN: Final = timedelta(hours=24)
"""After the last guess."""
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


class Patience(msgspec.Struct, frozen=True):
    free: int
    first: timedelta
    longest: timedelta

    def pause(self, guesses: int) -> timedelta:
        """How long after the last of so many guesses the next may come."""
        if guesses < self.free:
            return timedelta(0)
        doublings: int = min(guesses - self.free, _MOST_DOUBLINGS)
        return min(self.first * (1 << doublings), self.longest)


ONE_GUESSER: Final = Patience(free=5, first=timedelta(minutes=1), longest=timedelta(hours=1))
ALL_STRANGERS: Final = Patience(free=40, first=timedelta(seconds=90), longest=timedelta(seconds=90))


def guesses_so_far(guesses: int, counted_at: datetime, now: datetime) -> int:
    return 0 if now - counted_at >= FORGOTTEN else guesses
