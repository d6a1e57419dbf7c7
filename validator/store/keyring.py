"""Cache of API keys with their secrets decrypted: decryption costs more than the rest of a request.

Cached keys are fenced like licenses, with the near cache on or off, so a revoked key is refused as soon as its change
was pushed. Decrypted secrets are nowhere else.
"""

from functools import partial
from time import monotonic
from typing import Final, NamedTuple

import structlog

from core.clock import unix_time
from core.crypto.sealing import CannotOpen, Sealer
from core.crypto.signature import Verifier
from core.hotstore import keys
from core.hotstore.functions import NotReady
from core.hotstore.snapshot import (
    KeyReading,
    decode_key_reading,
    read_key_command,
)
from core.ip_addresses import Network, network
from core.licensing.record import ApiKeyRecord, Permission
from core.resp.connection import Answer, pack
from core.resp.waiting import Reply
from validator.redis.eras import Era, Eras
from validator.redis.link import checked
from validator.store.bounded_cache import BoundedCache
from validator.store.near_cache import MOST_UNKNOWN
from validator.store.sized_cache import SizedCache, heap_bytes
from validator.store.staleness import Trust, is_recent

_PERMISSION_SETS: Final[dict[frozenset[Permission], frozenset[Permission]]] = {}
"""Each set of permissions once: there are at most sixteen, and thousands of keys."""

# Bytes, measured: an object with its numbers, a secret with OpenSSL's two states, a network of IPv4 or IPv6.
_KEY_BYTES: Final = 320
_VERIFIER_BYTES: Final = 560
_NETWORK_BYTES: Final = 240

log = structlog.get_logger()


class OpenKey:
    """An API key ready for use, or the certainty that there is none (`exists` is false): that one is never live."""

    __slots__ = (
        "age",
        "changed_at",
        "changed_in",
        "current",
        "era",
        "exists",
        "license_hash",
        "live_until",
        "networks",
        "permissions",
        "previous",
        "previous_until",
        "replaced",
        "verifier",
    )

    def __init__(self, record: ApiKeyRecord | None, era: Era, sealer: Sealer) -> None:
        self.exists = record is not None
        self.age = (-1, -1) if record is None else (record.epoch, record.version)
        self.era = era
        self.current = True
        self.replaced = False
        self.changed_at = 0.0
        self.changed_in = 0  # as in validator.store.near_cache.Entry
        self.live_until = self.previous_until = float("-inf")
        self.permissions: frozenset[Permission] = frozenset()
        self.license_hash: str | None = None
        self.networks: tuple[Network, ...] | None = None
        self.verifier: Verifier | None = None
        self.previous: Verifier | None = None
        if record is not None and record.active:
            self._open(record, sealer)

    def _open(self, record: ApiKeyRecord, sealer: Sealer) -> None:
        context = f"api_key:{record.key_id}"
        self.live_until = float("inf") if record.expires_at is None else record.expires_at
        self.permissions = _PERMISSION_SETS.setdefault(record.permissions, record.permissions)
        self.networks = tuple(map(network, record.networks)) or None
        self.verifier = Verifier(sealer.open(record.current_secret, context=context))
        if record.previous_secret is not None and record.previous_until is not None:
            self.previous = Verifier(sealer.open(record.previous_secret, context=context))
            self.previous_until = record.previous_until
        if record.license_hash is not None:
            self.license_hash = keys.short_hash(record.license_hash)


class KnownKey(NamedTuple):
    key: OpenKey
    stale: bool


class KeyRing:
    def __init__(self, eras: Eras, trust: Trust, sealer: Sealer, most: int) -> None:
        """`most`: bytes."""
        self._eras = eras
        self._trust = trust
        self._sealer = sealer
        self._keys = self.held = SizedCache[bytes, OpenKey](most, _bytes_of)
        self._unknown: BoundedCache[bytes, OpenKey] = BoundedCache(MOST_UNKNOWN)
        self._under_way: dict[bytes, Reply[KnownKey | NotReady]] = {}

    def peek(self, key_id: bytes, now: float) -> OpenKey | None:
        """The key if it is believed at the monotonic instant `now`."""
        key = self._keys.get(key_id) or self._unknown.items.get(key_id)
        if key is not None and key.current:
            era = key.era
            if era.live and now <= era.fence.fresh_until:
                return key
        return None

    async def find(self, key_id: bytes) -> KnownKey:
        """Raises NotReady where it is unknown whether there is such a key."""
        await self._era(key_id).fence.catch_up()
        key = self.peek(key_id, monotonic())
        if key is not None:
            return KnownKey(key, stale=False)
        read = await self._read(key_id)
        if isinstance(read, KnownKey):
            return read
        old = self._keys.get(key_id)
        if old is None or old.replaced or not is_recent(old.era.known_until):
            raise read
        return KnownKey(old, stale=True)

    def denies(self, key: OpenKey, *, stale: bool) -> bool:
        """Whether a refusal is certain: the key is absent, revoked or expired, or has another secret."""
        return not stale and self._trust.denies(key.era.link)

    def changed(self, key_id: bytes) -> None:
        key = self._keys.get(key_id) or self._unknown.items.get(key_id)
        if key is not None:
            key.current = False
            key.replaced = True
            key.changed_at, key.changed_in = monotonic(), self._era(key_id).link.tenures

    def _era(self, key_id: bytes) -> Era:
        return self._eras.of(keys.bucket_of_api_key(key_id.decode()))

    def _read(self, key_id: bytes) -> Reply[KnownKey | NotReady]:
        under_way = self._under_way.get(key_id)
        if under_way is not None:
            return under_way
        result: Reply[KnownKey | NotReady] = Reply()
        self._under_way[key_id] = result
        answer = self._era(key_id).link.call(pack(*read_key_command(key_id.decode())))
        answer.when_done(partial(self._have_read, key_id, answer, result))
        return result

    def _have_read(self, key_id: bytes, answer: Reply[Answer], result: Reply[KnownKey | NotReady]) -> None:
        del self._under_way[key_id]
        try:
            result.resolve(self._conclude(key_id, decode_key_reading(checked(answer.value))))
        except NotReady as fault:
            result.resolve(fault)
        except (ValueError, CannotOpen) as fault:
            log.exception("api_key.unreadable", exc_info=fault)
            result.resolve(NotReady("the stored record of this API key cannot be read"))

    def _conclude(self, key_id: bytes, reading: KeyReading) -> KnownKey:
        """A key that is there may be used, whatever the mark says; that there is none must be confirmed by the mark."""
        era = self._era(key_id)
        if era.link.of_this_run(reading.loaded):
            key = OpenKey(reading.record, era, self._sealer)
            if key.exists:
                self._unknown.items.pop(key_id, None)
                self._keys.put(key_id, key)
            else:
                self._keys.pop(key_id)
                self._unknown.put(key_id, key)
            return KnownKey(key, stale=False)
        if reading.record is None:
            raise NotReady("the API keys are being loaded: try again")
        told = self._keys.get(key_id)
        if told is not None and (reading.record.epoch, reading.record.version) < told.age:
            raise NotReady("the API key has changed, and the data here is older than the change")
        if reading.loaded is None:
            return KnownKey(OpenKey(reading.record, era, self._sealer), stale=True)
        return KnownKey(self._unconfirmed(key_id, reading.record, era, told), stale=True)

    def _unconfirmed(self, key_id: bytes, record: ApiKeyRecord, era: Era, told: OpenKey | None) -> OpenKey:
        """A key in data of another reign: never older than what this process has used before."""
        link, through = era.link, self._trust.file_through
        if through is None or (told is None and self._keys.let_go and self._trust.lags(link, through)):
            raise NotReady("the API keys are being compared with their source after a restart")
        if told is not None and told.changed_in != link.tenures and (record.epoch, record.version) == told.age:
            changed = told.changed_in and told.era.link is link
            if self._trust.may_be_older(link, through, told.changed_at if changed else told.era.known_until):
                if changed:
                    raise NotReady("the API key has changed, and the data here may be older than the change")
                return told
        key = OpenKey(record, Era.past(link, monotonic() - (unix_time() - through)), self._sealer)
        self._keys.put(key_id, key)
        return key


def _bytes_of(key_id: bytes, key: OpenKey) -> int:
    networks = 0 if key.networks is None else heap_bytes(key.networks) + _NETWORK_BYTES * len(key.networks)
    verifiers = (key.verifier is not None) + (key.previous is not None)
    license_hash = 0 if key.license_hash is None else heap_bytes(key.license_hash)
    return heap_bytes(key_id) + _KEY_BYTES + verifiers * _VERIFIER_BYTES + networks + license_hash
