"""Reservations: the calls reserve and release.

A reservation is decided in two places. The rules in core.licensing decide here whether the license may hold anything;
a function in Redis counts atomically whether so many are left. The document's age connects the two (optimistic
concurrency): the function grants only if the document that was checked is still stored. Otherwise it answers "changed",
and the rules are applied again.
"""

import math
from typing import Final, cast

import msgspec

from core.hotstore import keys
from core.hotstore.functions import NotReady
from core.licensing.verdict import STANDS, Code, standing
from validator.calls.gate import Caller, Gate
from validator.calls.wire import (
    AskRelease,
    AskReservation,
    Release,
    ReleaseCode,
    Reservation,
    read,
)
from validator.http.answers import Letterhead
from validator.http.problems import ReservationConflict, ReservationEnded
from validator.http.protocol import Request
from validator.metrics import Tally
from validator.store.hashes import LicenseHashes
from validator.store.store import Store

_ask: Final = msgspec.json.Decoder(AskReservation)
_ask_release: Final = msgspec.json.Decoder(AskRelease)

_ROUNDS: Final = 3


class Reservations:
    def __init__(self, store: Store, gate: Gate, hashes: LicenseHashes, letterhead: Letterhead, tally: Tally) -> None:
        self._store = store
        self._gate = gate
        self._hashes = hashes
        self._letterhead = letterhead
        self._tally = tally

    async def reserve(self, request: Request) -> bytes:
        caller = await self._gate.admit(request, "reserve")
        headers = self._gate.charge(caller)
        ask = read(_ask, request.body)
        outcome = await self._reserve(ask, caller, _identity(caller, request.headers.get(b"idempotency-key")))
        self._tally.reservations[outcome.code if not outcome.granted else "GRANTED"] += 1
        return self._letterhead.ok(outcome, headers=headers)

    async def release(self, request: Request) -> bytes:
        caller = await self._gate.admit(request, "reserve")
        headers = self._gate.charge(caller)
        ask = read(_ask_release, request.body)
        h = self._hashes.find(ask.license_key)
        code = "not_found"
        if h is not None and caller.may_ask_about(h):
            code = await self._store.release(h, ask.reservation_id)
        answer = Release(code == "released", cast("ReleaseCode", code.upper()), self._letterhead.request_id())
        return self._letterhead.ok(answer, headers=headers)

    async def _reserve(self, ask: AskReservation, caller: Caller, identity: bytes) -> Reservation:
        h = self._hashes.find(ask.license_key)
        if h is None or not caller.may_ask_about(h):
            return self._refused(Code.NOT_FOUND)
        hold_id = keys.reservation_id(h, identity)
        # Check the license, then count in Redis; again if the license has changed between the two.
        for _ in range(_ROUNDS):
            known = await self._store.license(h)
            code = standing(known.record, ask.fingerprint, caller.now)
            if known.record is None or code not in STANDS:
                return self._refused(code, stale=known.stale)
            outcome, number = await self._store.reserve(h, known.record, ask.resource, ask.count, ask.ttl, hold_id)
            if outcome != "changed":
                return self._answer(outcome, number, code, hold_id)
            self._store.forget(h)
        raise NotReady("the license is changing: try again")

    def _answer(self, outcome: str, number: int, code: Code, hold_id: str) -> Reservation:
        match outcome:
            case "granted":
                remaining = None if number < 0 else number
                return Reservation(
                    granted=True,
                    reservation_id=hold_id,
                    remaining_quota=remaining,
                    code=code,
                    stale=self._letterhead.doubtful,
                    request_id=self._letterhead.request_id(),
                )
            case "exceeded":
                return self._refused(Code.QUOTA_EXCEEDED, remaining=number)
            case "not_granted":
                return self._refused(Code.FEATURE_NOT_INCLUDED)
            case "conflict":
                raise ReservationConflict
            case "ended":
                raise ReservationEnded
            case "behind":
                raise NotReady("it depends on reports that have not arrived here yet: try again", retry_after=1)
            case _:
                raise NotReady(
                    "reservations from before a loss of data may still be in use: try again",
                    retry_after=max(1, math.ceil(number / 1000)),
                )

    def _refused(self, code: Code, *, remaining: int = 0, stale: bool = False) -> Reservation:
        return Reservation(
            granted=False,
            reservation_id=None,
            remaining_quota=remaining,
            code=code,
            stale=stale or self._letterhead.doubtful,
            request_id=self._letterhead.request_id(),
        )


def _identity(caller: Caller, idempotency_key: bytes | None) -> bytes:
    """Identity of a request: the API key and its Idempotency-Key or nonce, so that a retry finds the hold it made."""
    which = caller.signature.nonce if idempotency_key is None else b"key " + idempotency_key
    return caller.signature.key_id + b"\n" + which
