"""Guess counters of login throttling, kept in the transactions of the services that verify passwords.

A guess is counted and committed before the password is hashed. So of a hundred guesses at once only the free ones are
verified, and the rest wait. A right guess is taken back. If the process is killed in between, it stays counted.

Accounts and guessers are stored as keyed hashes. An account is named by the typed address, whether it exists or not. So
guesses at an unknown address wait as long, after the same statements, and learn nothing. The hash also keeps addresses,
and passwords that were typed into the wrong field, out of the table.
"""

import math
from datetime import datetime
from uuid import UUID

import msgspec

from billing_api.identity.login_throttle import repository
from billing_api.identity.login_throttle.repository import Count
from billing_api.identity.login_throttle.rules import ALL_STRANGERS, ONE_GUESSER, Backoff, Guesser, guesses_so_far
from core.clock import Clock
from core.crypto.sealing import KeyedHash
from core.telemetry import logger
from db.unit_of_work import SystemTransaction

_STRANGERS = "strangers"


class Guess(msgspec.Struct, frozen=True):
    """A counted guess: its account, and the counts it was added to. `number`: its place among its guesser's."""

    account: bytes
    own: bytes
    strangers: bytes | None
    number: int = 0

    @property
    def counted(self) -> tuple[bytes, ...]:
        return (self.own,) if self.strangers is None else (self.own, self.strangers)


class Wait(msgspec.Struct, frozen=True):
    """A guess that came too early and is not verified."""

    seconds: int


class GuessCounter:
    def __init__(self, keyed_hash: KeyedHash, clock: Clock) -> None:
        self._keyed_hash = keyed_hash
        self._clock = clock

    def now(self) -> datetime:
        return self._clock()

    async def count(self, tx: SystemTransaction, email: str, guesser: Guesser, *, user_id: UUID | None) -> Guess | Wait:
        """`email`: the name of its mailbox (core/mailbox.py).

        `user_id` is for the audit trail only: known and unknown accounts wait alike.
        """
        # Lock the counts; refuse a guess that comes too early.
        now, guess = self._clock(), self._guess(email, guesser)
        counts = await repository.lock(tx, guess.account, guess.counted, now)
        waiting = [count for count in counts.values() if count.not_before > now]
        if waiting:
            longest = max(waiting, key=lambda count: count.not_before)
            await self._record_refusal(tx, guess.account, longest, guesser, user_id, now)
            return Wait(math.ceil((longest.not_before - now).total_seconds()))
        # Count it for its own guesser, and for all strangers where it comes from an unknown address.
        more = {
            name: _one_more(count, ONE_GUESSER if name == guess.own else ALL_STRANGERS, now)
            for name, count in counts.items()
        }
        await repository.write(tx, guess.account, [*more.values()], now)
        return msgspec.structs.replace(guess, number=more[guess.own].guesses)

    async def take_back(self, tx: SystemTransaction, guess: Guess, *, only_this: bool = False) -> None:
        """The guess was right: its guesser's count is reset, and that of all strangers is one less.

        `only_this`: the guesser's count is only one less, because more has to be proved.
        """
        for name in sorted(guess.counted):  # in the order in which counting locks them
            if name != guess.own:
                await repository.take_back_one(tx, guess.account, name)
            elif only_this:
                await repository.take_back_one(tx, guess.account, name, not_before=self._clock())
            else:
                await repository.clear(tx, guess.account, name)

    async def _record_refusal(
        self, tx: SystemTransaction, account: bytes, count: Count, guesser: Guesser, user_id: UUID | None, now: datetime
    ) -> None:
        """Recorded once for each wait, however many guesses come during it."""
        if count.refused_at is not None:
            return
        await repository.note_refusal(tx, account, count.guesser, now)
        whose = str(guesser.kind) if count.guesser == self._hash(guesser.kind, guesser.name) else _STRANGERS
        facts = {"user_id": user_id and str(user_id), "guesser": whose, "guesses": count.guesses}
        await tx.audit("sign_in.slowed", "sign_in", account.hex()[:32], **facts)
        logger().warning("sign_in.slowed", **facts)

    def _guess(self, email: str, guesser: Guesser) -> Guess:
        return Guess(
            account=self._hash("account", email),
            own=self._hash(guesser.kind, guesser.name),
            strangers=self._hash(_STRANGERS, "") if guesser.is_stranger else None,
        )

    def _hash(self, kind: str, name: str) -> bytes:
        return self._keyed_hash.digest(f"guess_{kind}", name)


def _one_more(count: Count, backoff: Backoff, now: datetime) -> Count:
    guesses = guesses_so_far(count.guesses, count.counted_at, now) + 1
    return count._replace(guesses=guesses, not_before=now + backoff.pause(guesses))
