"""Offline leases: signs one for every license in good standing, for its present version, and again at half of its life.

Two ways lead to a license whose lease is due. The relay hints at the licenses it has just projected, so a license that
was bought or changed has its lease within milliseconds; hints lie in memory and are lost with it. And every few
minutes, and at every start, a pass walks through all licenses and finds what is due by state: renewals, lost hints,
licenses that have expired, leases of a key that was withdrawn. Workers that do the same at once share the work, since
each claims rows that the others have not claimed.

A batch is one transaction: claim, sign, store, apply to the hot store, commit. A crash before the commit costs a second
signature. After the commit it is applied once more, because of a rebuild that may have begun in between: that one has
read the old leases, into a Redis that may have lost what was applied first.

Signing takes the loop's own time (a thread would not help: it holds the interpreter's lock). So a batch is small, and
the relay beside it waits little.

The keys' public halves go to Postgres before the first signature. They stay published until the last lease they may
have signed has ended. To rotate, put a new first key into the settings of every worker; the old one may leave them in
the same step.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import ARRAY, Row, Uuid, any_, bindparam

from billing_api.licensing.leases import repository
from billing_api.licensing.leases.repository import DueCriteria, SignedLease
from core.clock import Clock
from core.crypto.lease import JwkSet, LeaseSigner
from core.hotstore.writer import Writer
from core.licensing.lease import LIFE, OFFLINE_GRACE, draft, encode, leasable
from core.licensing.record import LeaseRecord, LicenseRecord
from core.parts import step, succeeded
from core.telemetry import logger
from db.license_records import LICENSE_ROWS, license_record
from db.models.licensing import License
from db.unit_of_work import Database, SystemTransaction
from workers.process.supervision import Wakeup
from workers.projection import records

BATCH: Final = 200
PASS_EACH: Final = 300.0
_LOOK_EACH: Final = 1.0
_LOCKED_WITHIN: Final = 3.0
"""Seconds that Redis has while rows are locked: fewer than the API's requests wait for a lock (db/migrate.py)."""
_MOST_HINTS: Final = 20_000
_SPREAD: Final = LIFE / 8
"""Leases live up to this much longer, at random, so that those signed together do not end together."""

_PUBLISHED_FOR: Final = timedelta(seconds=LIFE + _SPREAD + OFFLINE_GRACE + 3600)
_BEFORE_ALL_IDS: Final = UUID(int=0)
_NAMED: Final = LICENSE_ROWS.where(License.id == any_(bindparam("ids", type_=ARRAY(Uuid()))))

Claim = Callable[[SystemTransaction, DueCriteria], Awaitable[list[UUID]]]


class KeyIdReused(Exception):
    """A kid in the settings named another key before; panels that know that key would refuse every lease."""


class _Batch(NamedTuple):
    signed: Sequence[SignedLease]
    withdrawn: Sequence[UUID]
    leases: Sequence[tuple[bytes, LeaseRecord]]
    """The records for the hot store, by the hash of the license's key."""


class Leases:
    def __init__(
        self,
        database: Database,
        writer: Writer,
        seeds: Mapping[str, bytes],
        clock: Clock,
        *,
        signed: Callable[[int], None] = lambda _: None,
        batch: int = BATCH,
    ) -> None:
        """`seeds`: kid → 32 bytes, the first signs. `signed` is told how many leases each batch has signed."""
        self._database = database
        self._writer = writer
        self._signer = LeaseSigner(seeds)
        self._clock = clock
        self._signed = signed
        self._batch = batch
        self._changed: dict[UUID, None] = {}
        self._kids: Sequence[str] = ()
        self._next_publication = float("-inf")
        self._next_pass = float("-inf")
        self._wakeup = Wakeup()

    def changed(self, license_ids: Iterable[UUID]) -> None:
        """Hints that these licenses may need another lease, or none."""
        self._changed.update(dict.fromkeys(license_ids))
        if len(self._changed) > _MOST_HINTS:
            self._changed.clear()
            self._next_pass = float("-inf")
        self._wakeup.wake()

    async def run(self) -> None:
        self._next_pass = float("-inf")  # the failure of the last run has lost hints
        while True:
            await self.keep_up()
            if monotonic() >= self._next_pass:
                self._next_pass = monotonic() + PASS_EACH
                await self.sweep()
            succeeded()
            await self._wakeup.wait(_LOOK_EACH)

    async def sweep(self) -> int:
        """One pass through all licenses; says how many leases it signed or withdrew."""
        total = 0
        after: UUID | None = _BEFORE_ALL_IDS
        while after is not None:
            await self.keep_up()  # a license just bought does not wait for a million others
            async with step():
                claimed, done = await self._renew(self._claim_after(after))
            after = claimed[-1] if len(claimed) == self._batch else None
            total += done
        return total

    async def keep_up(self) -> None:
        """Publishes the keys, once a second, and renews the leases that were hinted at."""
        if monotonic() >= self._next_publication:
            async with step():
                await self._publish_keys()
            self._next_publication = monotonic() + _LOOK_EACH
        while self._changed:
            some = list(self._changed)[: self._batch]
            for license_id in some:
                del self._changed[license_id]  # before it is read: a hint that comes meanwhile is about something newer
            async with step():
                await self._renew(_claim_these(some))

    def _claim_after(self, after: UUID) -> Claim:
        return lambda tx, criteria: repository.claim_due(tx, criteria, after=after, most=self._batch)

    async def _publish_keys(self) -> None:
        now = self._clock()
        async with self._database.as_system() as tx:
            await repository.announce(tx, self._signer.public_keys, now + _PUBLISHED_FOR)
            published = await repository.published(tx, now)
        for kid, public_key in self._signer.public_keys.items():
            if published.get(kid) != public_key:
                raise KeyIdReused(f"NP_LEASE_KEYS: {kid!r} was the name of another key; give the new one a new name")
        await self._writer.publish_jwks(msgspec.json.encode(JwkSet.of(published)))
        self._kids = list(published)

    async def _renew(self, claim: Claim) -> tuple[list[UUID], int]:
        """The claimed licenses, and how many of them got a lease or lost theirs."""
        now = self._clock()
        criteria = DueCriteria(now, now + timedelta(seconds=LIFE / 2), self._kids)
        async with self._database.as_system() as tx:
            claimed = await claim(tx, criteria)
            due = await repository.still_due(tx, criteria, claimed)
            if not due:
                return claimed, 0
            rows = (await tx.session.execute(_NAMED, {"ids": due})).all()
            batch = self._made(rows, now)
            await repository.store(tx, batch.signed, kid=self._signer.kid, now=now)
            await repository.withdraw(tx, batch.withdrawn)
            async with asyncio.timeout(_LOCKED_WITHIN):
                await self._writer.apply_leases(batch.leases)
        # Once more after the commit: a rebuild may have read the old leases in between.
        await self._writer.apply_leases(batch.leases)
        self._signed(len(batch.signed))
        logger().debug("leases.renewed", signed=len(batch.signed), withdrawn=len(batch.withdrawn))
        return claimed, len(batch.leases)

    def _made(self, rows: Sequence[Row[Any]], now: datetime) -> _Batch:
        signed: list[SignedLease] = []
        withdrawn: list[UUID] = []
        leases: list[tuple[bytes, LeaseRecord]] = []
        for _, (digest, record) in records.fit(rows, license_record):
            if leasable(record, now.timestamp()):
                lease = self._sign(record, now)
                signed.append(lease)
                end, token = lease.not_after.timestamp(), lease.token
            else:
                withdrawn.append(record.license_id)
                end, token = 0.0, ""
            made = LeaseRecord(
                epoch=record.epoch, version=record.version, not_after=end, token=token, signed_at=now.timestamp()
            )
            leases.append((digest, made))
        return _Batch(signed, withdrawn, leases)

    def _sign(self, record: LicenseRecord, now: datetime) -> SignedLease:
        life = LIFE + random.uniform(0, _SPREAD)  # noqa: S311  spreads work, guards nothing
        terms = draft(record, now=now.timestamp(), life=life)
        token = self._signer.sign(encode(terms))
        return SignedLease(record.license_id, record.version, datetime.fromtimestamp(terms.not_after, UTC), token)


def _claim_these(license_ids: Sequence[UUID]) -> Claim:
    return lambda tx, _criteria: repository.claim(tx, license_ids)
