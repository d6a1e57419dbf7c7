"""Passwords: how they are kept, and how much of that goes on at once. Which ones are taken: password_rules.py.

Kept as argon2id (RFC 9106) with 19 MiB, two passes and one lane, the least that OWASP's password storage advice
allows. A hash costs tens of milliseconds and 19 MiB, so work goes to a pool of as many threads as there are cores,
and a short queue; beyond that a caller hears 503 at once. A flood of sign-ins must not take the memory or the event
loop from everybody else. Nobody may hash inside a transaction: it would hold a connection all that time.

Take a turn before you count an attempt: a caller who is refused for lack of room has guessed nothing.
"""

import asyncio
import os
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from billing_api.identity.credentials import password_policy as password_rules
from billing_api.identity.credentials.password_policy import normal
from core.errors import Unavailable

T = TypeVar("T")

WAITING_PER_THREAD: Final = 8

_KIB_PER_MIB: Final = 1024


class Turn:
    """A place among those who wait for a thread, for one thing after another."""

    def __init__(self, hasher: PasswordHasher, threads: ThreadPoolExecutor, nobodys_hash: str) -> None:
        self._hasher = hasher
        self._threads = threads
        self._nobodys_hash = nobodys_hash
        self._latest: Future[object] | None = None

    async def hash(self, password: str) -> str:
        return await self._in_thread(lambda: self._hasher.hash(normal(password)))

    async def fits(self, password: str, password_hash: str | None) -> bool:
        """Without a hash the same work is done for nothing, so that time does not tell whether somebody exists."""
        return await self._in_thread(lambda: self._verify(password_hash or self._nobodys_hash, normal(password)))

    async def weakness(self, password: str, about: Iterable[str | None]) -> str | None:
        """Why it is not taken, for its owner to read; None where it is."""
        facts = tuple(about)
        return await self._in_thread(lambda: password_rules.weakness(password, facts))

    def when_over(self, give_back: Callable[[], None]) -> None:
        """At once, or when the thread is done: a client that hangs up frees nothing while its work runs."""
        if self._latest is None:
            give_back()
        else:
            self._latest.add_done_callback(lambda _: give_back())

    def _verify(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except InvalidHashError:  # an account without a password: it must not answer sooner than others
            self._verify(self._nobodys_hash, password)
            return False
        except VerificationError:
            return False

    async def _in_thread(self, work: Callable[[], T]) -> T:
        future = self._threads.submit(work)
        self._latest = future  # type: ignore[assignment]  # only its end is of interest
        return await asyncio.wrap_future(future)


class Passwords:
    """Hashes and verifies. One for each process, closed with it."""

    def __init__(self, *, threads: int | None = None, waiting_per_thread: int = WAITING_PER_THREAD) -> None:
        count = threads or os.cpu_count() or 1
        self._hasher = PasswordHasher(time_cost=2, memory_cost=19 * _KIB_PER_MIB, parallelism=1)
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="argon2")
        self._places = threading.BoundedSemaphore(count * (1 + waiting_per_thread))
        self._nobodys_hash = self._hasher.hash(secrets.token_urlsafe())

    @classmethod
    def shared_by(cls, processes: int) -> "Passwords":
        """One of so many processes on this machine, which together hash no more at once than there are cores."""
        return cls(threads=max(1, (os.cpu_count() or 1) // processes))

    @contextmanager
    def turn(self) -> Iterator[Turn]:
        """Unavailable where too many wait already."""
        if not self._places.acquire(blocking=False):
            raise Unavailable("too many people sign in at this moment; try again in a few seconds", retry_after=3)
        turn = Turn(self._hasher, self._threads, self._nobodys_hash)
        try:
            yield turn
        finally:
            turn.when_over(self._places.release)

    async def hash(self, password: str) -> str:
        with self.turn() as turn:
            return await turn.hash(password)

    async def fits(self, password: str, password_hash: str | None) -> bool:
        with self.turn() as turn:
            return await turn.fits(password, password_hash)

    async def weakness(self, password: str, about: Iterable[str | None]) -> str | None:
        with self.turn() as turn:
            return await turn.weakness(password, about)

    def is_outdated(self, password_hash: str) -> bool:
        """True where the hash was made with other costs than today's, and wants to be made anew."""
        return self._hasher.check_needs_rehash(password_hash)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
