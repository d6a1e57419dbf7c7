"""Request signing (HMAC-SHA-256): verification of signed calls.

The validator verifies the same signature (core/crypto/signature.py) with the copy of the key in Redis. Here the key
comes from PostgreSQL, where the signed usage report is written as well.

A key is cached for KNOWN_FOR: a revoked key is refused that much later at most, and a panel that reports a thousand
times a second causes five lookups. An unknown key id is cached for UNKNOWN_FOR. Key ids are random and never reused, so
that delays nobody. Key ids that are new to a process are looked up together (batched_lookup.py).
"""

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from billing_api.licensing.api_keys import repository
from billing_api.licensing.api_keys.batched_lookup import BatchedLookup
from billing_api.licensing.api_keys.issuing import SECRET_CONTEXT
from billing_api.licensing.api_keys.last_use import LastUse
from core.clock import Clock
from core.crypto.sealing import CannotOpen
from core.crypto.signature import SignatureDefect, SignatureReader, Verifier, body_digest
from core.errors import NetworkNotAllowed, PermissionMissing, SignatureFault
from core.ip_addresses import Network, client_address, is_within, network
from core.settings import Secrets
from db.models.licensing import ApiKey
from db.unit_of_work import Database

_READ_WITHIN: Final = 5.0
"""Seconds; a signed call must be answered within 10."""
KNOWN_FOR: Final = 0.2
"""Seconds."""
UNKNOWN_FOR: Final = 10.0
"""Seconds."""
_MOST_KNOWN: Final = 1000
_MOST_UNKNOWN: Final = 10_000


class SignedRequest(NamedTuple):
    """The bytes that a signature covers, as received; and where they come from, as `client_address` takes it."""

    signature: bytes | None
    method: bytes
    target: bytes
    idempotency_key: bytes
    body: bytes
    peer: str = ""
    headers: Sequence[tuple[bytes, bytes]] = ()


class Signer(NamedTuple):
    """The sender of a signed call: bound to one license or, without one, the platform."""

    key_id: str
    license_id: UUID | None


class _KnownKey(NamedTuple):
    """A cached key, its secrets ready for verification. `previous` is valid until `previous_until`."""

    signer: Signer
    is_active: bool
    expires_at: datetime | None
    permissions: frozenset[str]
    current: Verifier
    previous: Verifier | None
    previous_until: datetime | None
    networks: tuple[Network, ...]
    last_used_at: datetime | None
    read_at: float


class SignatureChecker:
    def __init__(
        self,
        database: Database,
        secrets: Secrets,
        clock: Clock,
        *,
        proxies: Sequence[Network] = (),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`proxies`: the proxies of ours, which are believed in where a request comes from."""
        self._database = database
        self._proxies = proxies
        self._secrets = secrets
        self._clock = clock
        self._monotonic = monotonic
        self._signatures = SignatureReader()
        self.last_use = LastUse(database)
        self._known: dict[str, _KnownKey] = {}
        self._unknown: dict[str, float] = {}
        """Unknown key ids, and when each was looked up; the oldest first."""
        self._reading: dict[str, asyncio.Task[_KnownKey | None]] = {}
        self._new = BatchedLookup(self._read)

    async def check(self, request: SignedRequest, permission: str) -> Signer:
        """The signer. SignatureFault names the check that failed.

        NetworkNotAllowed: the key may not be used from there. PermissionMissing: not for this.
        """
        # 1. The header's form and the age of its timestamp.
        now = self._clock()
        signature = self._signatures.read(request.signature, now.timestamp())
        if isinstance(signature, SignatureDefect):
            raise SignatureFault(signature)
        # 2. The key.
        known = await self._key(signature.key_id.decode())
        if known is None or not known.is_active or _has_passed(known.expires_at, now):
            raise SignatureFault(SignatureDefect.UNKNOWN_KEY)
        # 3. The HMAC, with the present secret and, during a rotation, with the previous one.
        signed = (signature, request.method, request.target, request.idempotency_key, body_digest(request.body))
        if not known.current.holds(*signed):
            overlaps = known.previous is not None and not _has_passed(known.previous_until, now)
            if known.previous is None or not overlaps or not known.previous.holds(*signed):
                raise SignatureFault(SignatureDefect.MISMATCH)
        # 4. The network, for keys that name some.
        if known.networks:
            self._check_network(request, known.networks)
        # 5. The permission.
        if permission not in known.permissions:
            raise PermissionMissing(f"the API key lacks the permission `{permission}`")
        if self.last_use.is_due(known.signer.key_id, known.last_used_at, now):
            self.last_use.note(known.signer.key_id, now, self._address(request))
        return known.signer

    def _check_network(self, request: SignedRequest, networks: Sequence[Network]) -> None:
        address = self._address(request)
        if not is_within(address, networks):
            raise NetworkNotAllowed(address, "this API key")

    def _address(self, request: SignedRequest) -> str:
        forwarded = [value.decode("latin-1") for name, value in request.headers if name == b"x-forwarded-for"]
        return client_address(request.peer, forwarded, self._proxies)

    async def _key(self, key_id: str) -> _KnownKey | None:
        known = self._known.get(key_id)
        if known is not None and self._monotonic() - known.read_at < KNOWN_FOR:
            return known
        if self._monotonic() - self._unknown.get(key_id, -math.inf) < UNKNOWN_FOR:
            return None
        if known is None:
            return await self._new.find(key_id)
        reading = self._reading.get(key_id)
        if reading is None:  # concurrent calls share one read
            reading = self._reading[key_id] = asyncio.create_task(self._read_again(key_id))
            reading.add_done_callback(lambda _: self._reading.pop(key_id, None))
        return await asyncio.shield(reading)

    async def _read_again(self, key_id: str) -> _KnownKey | None:
        read = (await self._read([key_id])).get(key_id)
        if isinstance(read, CannotOpen):
            raise read
        return read

    async def _read(self, key_ids: Sequence[str]) -> Mapping[str, _KnownKey | CannotOpen]:
        """Reads these keys and caches them. A secret that cannot be decrypted affects only its own key."""
        read_at = self._monotonic()
        async with asyncio.timeout(_READ_WITHIN), self._database.as_system() as tx:
            rows = await repository.by_key_ids(tx, key_ids)
        read = {row.key_id: self._opened(row, read_at) for row in rows}
        for key_id in key_ids:
            if key_id not in read:
                self._known.pop(key_id, None)
                self._note_unknown(key_id, read_at)
        if len(self._known) + len(read) > _MOST_KNOWN:
            self._known.clear()
        self._known.update((key_id, known) for key_id, known in read.items() if isinstance(known, _KnownKey))
        return read

    def _note_unknown(self, key_id: str, read_at: float) -> None:
        self._unknown.pop(key_id, None)
        if len(self._unknown) >= _MOST_UNKNOWN:
            del self._unknown[next(iter(self._unknown))]
        self._unknown[key_id] = read_at

    def _opened(self, row: ApiKey, read_at: float) -> _KnownKey | CannotOpen:
        try:
            return self._known_key(row, read_at)
        except CannotOpen as fault:
            return fault
        except ValueError as fault:  # a network that was typed into the database
            return CannotOpen(f"the networks of {row.key_id} cannot be read: {fault}")

    def _known_key(self, row: ApiKey, read_at: float) -> _KnownKey:
        return _KnownKey(
            Signer(row.key_id, row.license_id),
            is_active=row.is_active,
            expires_at=row.expires_at,
            permissions=frozenset(row.permissions),
            current=self._verifier(row.key_id, row.secret),
            previous=None if row.previous_secret is None else self._verifier(row.key_id, row.previous_secret),
            previous_until=row.previous_until,
            networks=tuple(map(network, row.networks)),
            last_used_at=row.last_used_at,
            read_at=read_at,
        )

    def _verifier(self, key_id: str, sealed: bytes) -> Verifier:
        return Verifier(self._secrets.sealer.open(sealed, context=SECRET_CONTEXT.format(key_id)))


def _has_passed(instant: datetime | None, now: datetime) -> bool:
    return instant is not None and instant <= now
