"""`Idempotency-Key`: a request that is sent twice is carried out once, and both get the same answer.

The key, the body's hash and the answer are one row that commits with the work. A second request finds one of four:

    no row                                   it does the work
    a row with an answer                     it gets that answer, marked as replayed
    a row of another body                    422
    a row whose transaction has not ended    the database makes it wait, so it never sees work half done

Work that calls a partner between two transactions claims the key in the first and records the answer in the last. If it
dies in between, the claim lapses after a minute. A retry takes it over and relies on the partner's own idempotency.
Answers may hold secrets (an issued key): they are sealed, and removed after a week, when retries have ended.
"""

import hashlib
from datetime import timedelta
from typing import Final, Generic, TypeVar
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.dialects.postgresql import insert

from core.crypto.sealing import Sealer
from core.errors import FieldError, IdempotencyMismatch, InvalidInput, StillRunning
from db.clock import NOW
from db.models.messaging import IdempotencyKey
from db.unit_of_work import SystemTransaction, Transaction

ViewT = TypeVar("ViewT", bound=msgspec.Struct)

_CLAIM_LAPSES: Final = timedelta(minutes=1)
_LONGEST_KEY: Final = 255
KEPT: Final = timedelta(days=7)
"""For people and their scripts. Usage reports have keys of their own, which are kept with them."""


class Replayable(msgspec.Struct, Generic[ViewT]):
    """An answer, and whether it is the stored one of an earlier request."""

    view: ViewT
    replayed: bool = False


class Once:
    """The claim of one request on its key. Without a key it claims nothing and records nothing."""

    def __init__(self, sealer: Sealer, *, scope: str, key: str | None, body: bytes, user_id: UUID | None) -> None:
        if key is not None and not (0 < len(key) <= _LONGEST_KEY and key.isascii() and key.isprintable()):
            form = f"1 to {_LONGEST_KEY} printable ASCII characters"
            fault = FieldError("Idempotency-Key", f"must be {form}", "bad_format", {"expected": form})
            raise InvalidInput(f"Idempotency-Key must be {form}", errors=(fault,))
        self.key = key
        self._scope = scope
        self._body_hash = hashlib.sha256(body).digest()
        self._user_id = user_id
        self._sealer = sealer

    async def claim(self, tx: Transaction, view: type[ViewT]) -> Replayable[ViewT] | None:
        """None: do the work. Otherwise the stored answer."""
        if self.key is None:
            return None
        row = {"scope": self._scope, "key": self.key, "user_id": self._user_id, "body_hash": self._body_hash}
        statement = insert(IdempotencyKey).values(row).on_conflict_do_nothing().returning(IdempotencyKey.key)
        if await tx.session.scalar(statement) is not None:
            return None
        stored = await tx.session.scalar(select(IdempotencyKey).where(*self._where()).with_for_update())
        if stored is None or stored.body_hash != self._body_hash:
            raise IdempotencyMismatch("this Idempotency-Key was used with another body; use a new key")
        if stored.answer is None:
            await self._take_over(tx)
            return None
        answer = msgspec.json.decode(self._sealer.open(stored.answer, context=self._context), type=view)
        return Replayable(answer, replayed=True)

    async def record(self, tx: Transaction, view: ViewT) -> Replayable[ViewT]:
        if self.key is not None:
            sealed = self._sealer.seal(msgspec.json.encode(view), context=self._context)
            await tx.session.execute(update(IdempotencyKey).where(*self._where()).values(answer=sealed))
        return Replayable(view)

    async def give_back(self, tx: SystemTransaction) -> None:
        """For work that failed between its two transactions: a retry may begin at once."""
        if self.key is not None:
            await tx.session.execute(delete(IdempotencyKey).where(*self._where(), IdempotencyKey.answer.is_(None)))

    async def _take_over(self, tx: Transaction) -> None:
        lapsed = update(IdempotencyKey).where(*self._where(), IdempotencyKey.created_at < NOW - _CLAIM_LAPSES)
        if await tx.session.scalar(lapsed.values(created_at=NOW).returning(IdempotencyKey.key)) is None:
            raise StillRunning(retry_after=1)

    def _where(self) -> tuple[ColumnElement[bool], ...]:
        return (IdempotencyKey.scope == self._scope, IdempotencyKey.key == self.key)

    @property
    def _context(self) -> str:
        return f"idempotency_keys.answer:{self._scope}:{self.key}"


async def forget_answers(tx: SystemTransaction, most: int) -> int:
    """Removes keys that are older than a week, with their answers; says how many."""
    old = select(IdempotencyKey.scope, IdempotencyKey.key).where(IdempotencyKey.created_at < NOW - KEPT)
    locked = old.limit(most).with_for_update(skip_locked=True).subquery()
    removal = delete(IdempotencyKey).where(IdempotencyKey.scope == locked.c.scope, IdempotencyKey.key == locked.c.key)
    return len((await tx.session.execute(removal.returning(IdempotencyKey.key))).all())
