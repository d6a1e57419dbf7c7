"""Counts guesses at passwords, in the transactions of those who judge them.

A guess is counted and committed before the password is hashed: of a hundred at once those are let through that were
counted, and the rest wait. A right guess is taken back. Killed in between, a right guess stays counted.

Accounts and guessers are kept as keyed hashes. An account is named by the address that was typed, whether somebody has
it or not: a guesser at an unknown account waits as long, after the same statements, and learns nothing. It also
keeps addresses, and what people type into the wrong field, out of the table.
"""

import math
from datetime import datetime
from uuid import UUID

import msgspec

from billing_api.identity.login_throttle import repository
from billing_api.identity.login_throttle.rules import (
    ALL_STRANGERS,
    ONE_GUESSER,
    Guesser,
    Patience,
    guesses_so_far,
)
from core.clock import Clock
from core.crypto.sealing import KeyedHash
from core.telemetry import logger
from db.models.identity import GuessCount
from db.unit_of_work import SystemTransaction

_STRANGERS = "strangers"


class Guess(msgspec.Struct, frozen=True):
    """One that was counted: at whose password, and to whose counts. `number`: which of its guesser's it is."""

    account: bytes
    own: bytes
    strangers: bytes | None
    number: int = 0

    @property
    def counted(self) -> tuple[bytes, ...]:
        return (self.own,) if self.strangers is None else (self.own, self.strangers)


class Wait(msgspec.Struct, frozen=True):
    """One that is not looked at: too early."""

    seconds: int


class GuessCounter:
    def __init__(self, keyed_hash: KeyedHash, clock: Clock) -> None:
        self._keyed_hash = keyed_hash
        self._clock = clock

    def now(self) -> datetime:
        return self._clock()

    async def count(self, tx: SystemTransaction, email: str, guesser: Guesser, *, user_id: UUID | None) -> Guess | Wait:
        """`email`: the name of its mailbox (core/mailbox.py).

        `user_id` is for the audit trail: who is known waits no other way.
        """
        now, guess = self._clock(), self._guess(email, guesser)
        counts = await repository.lock(tx, guess.account, guess.counted, now)
        waiting = [count for count in counts.values() if count.not_before > now]
        if waiting:
            longest = max(waiting, key=lambda count: count.not_before)
            await self._turn_away(tx, longest, guesser, user_id, now)
            return Wait(math.ceil((longest.not_before - now).total_seconds()))
        for name, count in counts.items():
            _add_one(count, ONE_GUESSER if name == guess.own else ALL_STRANGERS, now)
        return msgspec.structs.replace(guess, number=counts[guess.own].guesses)

    async def take_back(self, tx: SystemTransaction, guess: Guess, *, only_this: bool = False) -> None:
        """It was right: its guesser begins anew, all strangers have one guess less.

        `only_this`: its guesser is where it was before, for more has to be proved yet.
        """
        for name in sorted(guess.counted):  # in the order in which counting locks them
            if name != guess.own:
                await repository.take_back_one(tx, guess.account, name)
            elif only_this:
                await repository.take_back_one(tx, guess.account, name, not_before=self._clock())
            else:
                await repository.clear(tx, guess.account, name)

    async def _turn_away(
        self, tx: SystemTransaction, count: GuessCount, guesser: Guesser, user_id: UUID | None, now: datetime
    ) -> None:
        """On record once for each wait, however often somebody knocks meanwhile."""
        if count.refused_at is not None:
            return
        count.refused_at = now
        whose = str(guesser.kind) if count.guesser == self._hash(guesser.kind, guesser.name) else _STRANGERS
        facts = {"user_id": user_id and str(user_id), "guesser": whose, "guesses": count.guesses}
        await tx.audit("sign_in.slowed", "sign_in", count.account.hex()[:32], **facts)
        logger().warning("sign_in.slowed", **facts)

    def _guess(self, email: str, guesser: Guesser) -> Guess:
        return Guess(
            account=self._hash("account", email),
            own=self._hash(guesser.kind, guesser.name),
            strangers=self._hash(_STRANGERS, "") if guesser.is_stranger else None,
        )

    def _hash(self, kind: str, name: str) -> bytes:
        return self._keyed_hash.digest(f"guess_{kind}", name)


def _add_one(count: GuessCount, patience: Patience, now: datetime) -> None:
    count.guesses = guesses_so_far(count.guesses, count.counted_at, now) + 1
    count.counted_at, count.refused_at = now, None
    count.not_before = now + patience.pause(count.guesses)
