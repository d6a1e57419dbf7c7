"""Leases (offline licenses): the call lease hands out what a worker has signed for the license.

A validator has no key to sign one (core/licensing/lease.py says what a lease is).
"""

from datetime import UTC, datetime
from typing import Final

import msgspec

from core.clock import rfc3339
from core.hotstore.functions import NotReady
from core.licensing.record import LeaseRecord, LicenseRecord
from core.licensing.verdict import STANDS, Code, standing
from validator.calls.gate import Caller, Gate
from validator.calls.wire import AskLease, Lease, read
from validator.http.answers import Letterhead
from validator.http.protocol import Request
from validator.store.hashes import LicenseHashes
from validator.store.store import Store

_ask: Final = msgspec.json.Decoder(AskLease)


class Leases:
    def __init__(self, store: Store, gate: Gate, hashes: LicenseHashes, letterhead: Letterhead) -> None:
        self._store = store
        self._gate = gate
        self._hashes = hashes
        self._letterhead = letterhead

    async def lease(self, request: Request) -> bytes:
        """The lease that a worker signed for the present state of the license."""
        caller = await self._gate.admit(request, "lease")
        headers = self._gate.charge(caller)
        ask = read(_ask, request.body)
        answer = await self._lease(ask, caller)
        return self._letterhead.ok(answer, headers=headers)

    async def _lease(self, ask: AskLease, caller: Caller) -> Lease:
        h = self._hashes.find(ask.license_key)
        if h is None or not caller.may_ask_about(h):
            return Lease(None, None, Code.NOT_FOUND, self._letterhead.request_id())
        known = await self._store.license(h)
        code = standing(known.record, ask.fingerprint, caller.now)
        if known.record is None or code not in STANDS:
            return Lease(None, None, code, self._letterhead.request_id())
        lease = await self._store.lease(h)
        if lease is None or not lease.token or _age(lease) != _age(known.record) or lease.not_after <= caller.now:
            raise NotReady("the lease for this state of the license is being signed: try again", retry_after=1)
        not_after = rfc3339(datetime.fromtimestamp(lease.not_after, UTC))
        return Lease(lease.token, not_after, code, self._letterhead.request_id())


def _age(record: LicenseRecord | LeaseRecord) -> tuple[int, int]:
    return record.epoch, record.version
