"""Leases kept for the time in which the service cannot be asked.

One is fetched after an answer that says yes, and again at half of its life. It is forgotten as soon as the service says
that the license is not valid: a refusal must not be undone by pulling a cable.

The store may be locked, full or damaged, in an outage above all. Callers do not hear of that:
without a readable lease nothing can be told, and a lease that cannot be deleted is disregarded until it can.
"""

import asyncio
import hashlib
import json
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any, Final, ParamSpec, TypeVar

from nextpanel_billing_client import lease
from nextpanel_billing_client.answers import BillingError, Question, StoreUnusable, Verdict
from nextpanel_billing_client.key import tidy
from nextpanel_billing_client.store import Store
from nextpanel_billing_client.transport import Transport

_TRY_AGAIN_AFTER: Final = 60.0
_REMEMBERED: Final = 100_000
_NOTED_EACH: Final = 60.0
"""Seconds between two notes of the latest instant seen: far fewer than a clock may be set back by unnoticed."""
_PERHAPS_OF_A_NEW_KEY: Final = frozenset({"UNKNOWN_KEY", "BAD_SIGNATURE"})
"""The second: an installation that was set up anew may give an old name to a new key."""
_DOES_NOT_STAND: Final = frozenset({"NOT_FOUND", "SUSPENDED", "CANCELLED", "EXPIRED"})

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Fetch:
    name: str
    wanted: bool = True
    """True unless a refusal arrived while the lease was being fetched."""


class Leases:
    def __init__(self, store: Store, transport: Transport, validator_url: str, clock: Callable[[], float]) -> None:
        self._store = store
        self._transport = transport
        self._url = f"{validator_url}/api/v1/nextpanel/lease"
        self._keys_url = f"{validator_url}/.well-known/jwks.json"
        self._clock = clock
        self._due_at: dict[str, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._under_way: list[_Fetch] = []
        self._one_writes = asyncio.Lock()
        self._refused: set[str] = set()
        """Licenses whose leases must be deleted, and perhaps are not yet."""
        self._seen = 0.0
        """The latest instant, which the store knows a little later."""
        self._noted_at = -_NOTED_EACH
        self._notes: set[asyncio.Task[None]] = set()
        self._reader = ThreadPoolExecutor(1, "billing-leases")
        """Threads that all share may wait for a locked store, with reports to be written down."""

    async def heard(self, question: Question, verdict: Verdict, until: float) -> None:
        """Keeps the lease in step with an answer of the service. Fetching goes on in the background.

        Never raises, and returns at `until`, on the monotonic clock, at the latest.
        """
        name = _name(question.license_key)
        if verdict.code in _DOES_NOT_STAND:
            self._due_at.pop(name, None)
            await _by(until, self._drop(name), "a lease was not deleted")
        elif verdict.valid and self._clock() >= self._due_at.get(name, 0):
            if len(self._due_at) >= _REMEMBERED:
                self._due_at.clear()
            self._due_at[name] = self._clock() + _TRY_AGAIN_AFTER
            task = asyncio.create_task(self._fetch(question.license_key, question.fingerprint))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def fetch(self, license_key: str, fingerprint: str | None = None) -> bool:
        """True if a valid lease is stored now."""
        fetch = _Fetch(_name(license_key))
        self._under_way.append(fetch)
        try:
            return await self._fetched(fetch, license_key, fingerprint)
        finally:
            self._under_way.remove(fetch)

    async def _fetched(self, fetch: "_Fetch", license_key: str, fingerprint: str | None) -> bool:
        asked = {"license_key": license_key} | ({} if fingerprint is None else {"fingerprint": fingerprint})
        token, code = await self._transport.post(self._url, json.dumps(asked).encode(), _token_and_code)
        if token is None:
            if code in _DOES_NOT_STAND:
                await self._drop(fetch.name)
            return False
        # The service has just taken a signature with our time in it, so our clock is right, whatever it was before.
        self._seen = self._clock()
        await asyncio.to_thread(self._store.keep_fact, "last_seen", str(self._seen))
        reading = await self._read(token, fingerprint, renew_keys=True)
        if reading.terms is None or reading.code not in {"VALID", "GRACE"}:
            log.warning("a lease was not taken: %s", reading.code)
            return False
        async with self._one_writes:
            if not fetch.wanted:
                return False
            await asyncio.to_thread(self._store.keep_lease, fetch.name, token)
            self._refused.discard(fetch.name)
        self._due_at[fetch.name] = self._clock() + (reading.terms.not_after - self._clock()) / 2
        return True

    async def answer(self, question: Question, until: float) -> Verdict | None:
        """From the lease in store; None where there is none, it cannot tell, or the store cannot be read by `until`."""
        return await _by(until, self._answer(question), "a lease cannot be read")

    async def _answer(self, question: Question) -> Verdict | None:
        name = _name(question.license_key)
        token = None if name in self._refused else await self._ask(self._store.lease, name)
        if token is None:
            return None
        reading = await self._read(token, question.fingerprint, renew_keys=False)
        return lease.answer(reading, question.feature, used=question.used)

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, *self._notes, return_exceptions=True)
        self._reader.shutdown(wait=False)

    async def _ask(self, question: Callable[P, T], *words: P.args, **more: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._reader, partial(question, *words, **more))

    async def _drop(self, name: str) -> None:
        for fetch in self._under_way:
            fetch.wanted = fetch.wanted and fetch.name != name
        self._refused.add(name)
        async with self._one_writes:
            for refused in list(self._refused):  # with those that could not be deleted before
                await asyncio.to_thread(self._store.drop_lease, refused)
                self._refused.discard(refused)

    async def _fetch(self, license_key: str, fingerprint: str | None) -> None:
        try:
            await self.fetch(license_key, fingerprint)
        except StoreUnusable as fault:
            log.warning("no lease for now: %s", fault)
        except BillingError as failure:
            log.info("no lease for now: %s", failure)
        except Exception as fault:  # noqa: BLE001  nobody waits for this task, so nobody else could tell
            log.warning("no lease for now, for a fault of this package: %s", type(fault).__name__)

    async def _read(self, token: str, fingerprint: str | None, *, renew_keys: bool) -> lease.Reading:
        now = self._clock()
        reading = await self._ask(self._read_with_kept_keys, token, fingerprint, now)
        if renew_keys and reading.code in _PERHAPS_OF_A_NEW_KEY:
            published = await self._transport.get(self._keys_url, _key_set)
            await asyncio.to_thread(self._store.keep_fact, "jwks", published)
            reading = await self._ask(self._read_with_kept_keys, token, fingerprint, now)
        self._saw(now)
        return reading

    def _read_with_kept_keys(self, token: str, fingerprint: str | None, now: float) -> lease.Reading:
        jwks: dict[str, Any] = json.loads(self._store.fact("jwks") or '{"keys": []}')
        last_seen = max(float(self._store.fact("last_seen") or 0), self._seen)
        return lease.read(token, lease.public_keys(jwks), now=now, last_seen=last_seen, fingerprint=fingerprint)

    def _saw(self, now: float) -> None:
        """Does not wait for the write: the store may be locked."""
        self._seen = max(self._seen, now)
        if monotonic() - self._noted_at >= _NOTED_EACH:
            self._noted_at = monotonic()
            task = asyncio.create_task(self._note(self._seen))
            self._notes.add(task)
            task.add_done_callback(self._notes.discard)

    async def _note(self, seen: float) -> None:
        """What cannot be noted now is noted with what is seen a minute later."""
        try:
            await asyncio.to_thread(self._store.saw, seen)
        except StoreUnusable as fault:
            log.warning("%s", fault)


async def _by(until: float, work: Awaitable[T], otherwise: str) -> T | None:
    """Its result, or None where the store fails in any way or is not done in time; that is told in the log."""
    try:
        async with asyncio.timeout(max(until - monotonic(), 0)):
            return await work
    except Exception as fault:  # noqa: BLE001  what lies on a disk may be damaged in every way
        log.warning("%s: %s", otherwise, fault if isinstance(fault, StoreUnusable) else type(fault).__name__)
        return None


def _token_and_code(answer: dict[str, Any]) -> tuple[str | None, str]:
    token, code = answer["lease"], answer["code"]
    if not isinstance(token, str | None) or not isinstance(code, str):
        raise TypeError("no lease and no code")
    return token, code


def _key_set(answer: dict[str, Any]) -> str:
    """As it came, once it is known to be one."""
    lease.public_keys(answer)
    return json.dumps(answer)


def _name(license_key: str) -> str:
    """Under which a license's lease lies on the disk: the key itself has no business there."""
    return hashlib.sha256(tidy(license_key).encode(errors="surrogatepass")).hexdigest()
