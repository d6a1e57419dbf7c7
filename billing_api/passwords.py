"""Passwords: which ones are taken, and how they are kept.

Kept as argon2id (RFC 9106) with 19 MiB, two passes and one lane, the least that OWASP's password storage advice
allows. A hash costs tens of milliseconds and 19 MiB, so work goes to a pool of as many threads as there are cores,
and a short queue; beyond that a caller hears 503 at once. A flood of sign-ins must not take the memory or the event
loop from everybody else. Nobody may hash inside a transaction: it would hold a connection all that time.

Which ones are taken follows NIST SP 800-63B: length, and a look at what people choose first; no rule about classes
of characters, which only breeds `Passw0rd!`.
"""

import asyncio
import os
import re
import secrets
import threading
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from core.errors import Unavailable

T = TypeVar("T")

SHORTEST: Final = 10
LONGEST: Final = 128
WAITING_PER_THREAD: Final = 8

_KIB_PER_MIB: Final = 1024
_FEWEST_DIFFERENT: Final = 5
_ROWS: Final = ("01234567890", "abcdefghijklmnopqrstuvwxyz", "qwertyuiopasdfghjklzxcvbnm", "1qaz2wsx3edc4rfv5tgb6yhn")
_LOOK_ALIKES: Final = str.maketrans("013457@$!", "oleastasi")
_WORN_OUT: Final = re.compile(
    r"(password|passwort|passw|qwert[yz]|welcome|letmein|iloveyou|monkey|dragon|sunshine|princess|football|"
    r"baseball|master|superman|trustno|admin|administrator|changeme|secret|login|nextpanel|hosting)+[\W\d_oleastai]{0,6}"
)


def weakness(password: str, *, email: str) -> str | None:
    """Why this password is not taken, for its owner to read; None where it is."""
    if not SHORTEST <= len(password) <= LONGEST:
        return f"a password has {SHORTEST} to {LONGEST} characters"
    folded = password.casefold()
    if folded in {email.casefold(), email.casefold().partition("@")[0]}:
        return "the password must not be the e-mail address"
    if len(set(folded)) < _FEWEST_DIFFERENT:
        return f"the password repeats itself: use at least {_FEWEST_DIFFERENT} different characters"
    if _runs_along_a_row(folded):
        return "the password is a run of neighbouring letters or digits, which is guessed first"
    if _WORN_OUT.fullmatch(folded.translate(_LOOK_ALIKES)):
        return "the password is one of the words that are guessed first; three or four unrelated words hold better"
    return None


def _runs_along_a_row(folded: str) -> bool:
    endless = [row * (LONGEST // len(row) + 2) for row in _ROWS]
    return any(folded in row or folded in row[::-1] for row in endless)


class Passwords:
    """Hashes and verifies. One for each process, closed with it."""

    def __init__(self, *, threads: int | None = None, waiting_per_thread: int = WAITING_PER_THREAD) -> None:
        count = threads or os.cpu_count() or 1
        self._hasher = PasswordHasher(time_cost=2, memory_cost=19 * _KIB_PER_MIB, parallelism=1)
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="argon2")
        self._places = threading.BoundedSemaphore(count * (1 + waiting_per_thread))
        self._nobodys_hash = self._hasher.hash(secrets.token_urlsafe())

    async def hash(self, password: str) -> str:
        return await self._in_thread(lambda: self._hasher.hash(_normal(password)))

    async def fits(self, password: str, password_hash: str | None) -> bool:
        """Without a hash the same work is done for nothing, so that time does not tell whether somebody exists."""
        return await self._in_thread(lambda: self._verify(password_hash or self._nobodys_hash, _normal(password)))

    def is_outdated(self, password_hash: str) -> bool:
        """True where the hash was made with other costs than today's, and wants to be made anew."""
        return self._hasher.check_needs_rehash(password_hash)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _verify(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if not self._places.acquire(blocking=False):
            raise Unavailable("too many people sign in at this moment; try again in a few seconds", retry_after=3)
        # The place is given back when the thread is done, not when the caller is: a client that hangs up frees nothing.
        future = self._threads.submit(work)
        future.add_done_callback(lambda _: self._places.release())
        return await asyncio.wrap_future(future)


def _normal(password: str) -> str:
    """One spelling of what looks alike: keyboards differ in how they compose an accented letter (Unicode NFKC)."""
    return unicodedata.normalize("NFKC", password)
