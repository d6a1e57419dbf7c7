"""Argon2id: passwords are hashed and verified in a small pool of threads with a bounded queue.

The parameters are the least that OWASP's advice on password storage allows: 19 MiB, two passes, one lane (RFC 9106). A
hash costs tens of milliseconds and 19 MiB. So there are as many threads as cores, and a short queue; beyond that the
answer is 503 at once. A flood of sign-ins must not take memory or the event loop from other requests. Never hash inside
a transaction: it would occupy a connection all that time.

A caller that counts attempts takes a slot first. A call that is refused because the queue is full has guessed nothing,
and must not count as a guess. Which passwords are accepted: password_policy.py.
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

from billing_api.identity.credentials import password_policy
from billing_api.identity.credentials.password_policy import normal
from core.errors import Unavailable

T = TypeVar("T")

WAITING_PER_THREAD: Final = 8

_KIB_PER_MIB: Final = 1024


class HashingSlot:
    """A place in the queue for a thread, for one piece of work after another."""

    def __init__(self, hasher: PasswordHasher, threads: ThreadPoolExecutor, dummy_hash: str) -> None:
        self._hasher = hasher
        self._threads = threads
        self._dummy_hash = dummy_hash
        self._latest: Future[object] | None = None

    async def hash(self, password: str) -> str:
        return await self._in_thread(lambda: self._hasher.hash(normal(password)))

    async def verify(self, password: str, password_hash: str | None) -> bool:
        """Without a hash it verifies a dummy hash, so that the time does not show whether an account exists."""
        return await self._in_thread(lambda: self._verify(password_hash or self._dummy_hash, normal(password)))

    async def weakness(self, password: str, about: Iterable[str | None]) -> str | None:
        """Why the password is refused, as a text for its owner; None where it is accepted."""
        facts = tuple(about)
        return await self._in_thread(lambda: password_policy.weakness(password, facts))

    def when_done(self, release: Callable[[], None]) -> None:
        """Releases now, or when the thread has finished: a client that hangs up does not stop the thread's work."""
        if self._latest is None:
            release()
        else:
            self._latest.add_done_callback(lambda _: release())

    def _verify(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except InvalidHashError:  # an account without a password must take as long as others
            self._verify(self._dummy_hash, password)
            return False
        except VerificationError:
            return False

    async def _in_thread(self, work: Callable[[], T]) -> T:
        future = self._threads.submit(work)
        self._latest = future  # type: ignore[assignment]  # only its end matters
        return await asyncio.wrap_future(future)


class Passwords:
    """Hashes and verifies. One for each process, closed with it."""

    def __init__(self, *, threads: int | None = None, waiting_per_thread: int = WAITING_PER_THREAD) -> None:
        count = threads or os.cpu_count() or 1
        self._hasher = PasswordHasher(time_cost=2, memory_cost=19 * _KIB_PER_MIB, parallelism=1)
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="argon2")
        self._slots = threading.BoundedSemaphore(count * (1 + waiting_per_thread))
        self._dummy_hash = self._hasher.hash(secrets.token_urlsafe())

    @classmethod
    def shared_by(cls, processes: int) -> "Passwords":
        """For one of `processes` on this machine: together they use no more threads than there are cores."""
        return cls(threads=max(1, (os.cpu_count() or 1) // processes))

    @contextmanager
    def slot(self) -> Iterator[HashingSlot]:
        """Unavailable where the queue is full."""
        if not self._slots.acquire(blocking=False):
            raise Unavailable("too many users sign in at this moment; wait 3 seconds, then try again", retry_after=3)
        slot = HashingSlot(self._hasher, self._threads, self._dummy_hash)
        try:
            yield slot
        finally:
            slot.when_done(self._slots.release)

    async def hash(self, password: str) -> str:
        with self.slot() as slot:
            return await slot.hash(password)

    async def verify(self, password: str, password_hash: str | None) -> bool:
        with self.slot() as slot:
            return await slot.verify(password, password_hash)

    async def weakness(self, password: str, about: Iterable[str | None]) -> str | None:
        with self.slot() as slot:
            return await slot.weakness(password, about)

    def is_outdated(self, password_hash: str) -> bool:
        """True where the hash has other parameters than today's and should be replaced."""
        return self._hasher.check_needs_rehash(password_hash)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
