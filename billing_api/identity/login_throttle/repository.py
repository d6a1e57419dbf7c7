"""SQL of the guess counters."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.sql import func

from db.models.identity import GuessCount
from db.unit_of_work import SystemTransaction


async def lock(
    tx: SystemTransaction, account: bytes, guessers: Sequence[bytes], now: datetime
) -> Mapping[bytes, GuessCount]:
    """Locks the counts and creates missing ones, always in the same order, so that no two calls deadlock.

    It is one statement: between an INSERT that finds a row and a SELECT that locks it, the row could be deleted.
    """
    rows = [
        {"account": account, "guesser": guesser, "not_before": now, "counted_at": now} for guesser in sorted(guessers)
    ]
    made_or_found = insert(GuessCount).values(rows)
    locked = made_or_found.on_conflict_do_update(
        index_elements=[GuessCount.account, GuessCount.guesser], set_={"guesses": GuessCount.guesses}
    )
    found = await tx.session.scalars(locked.returning(GuessCount), execution_options={"populate_existing": True})
    return {count.guesser: count for count in found}


async def clear(tx: SystemTransaction, account: bytes, guesser: bytes) -> None:
    await tx.session.execute(delete(GuessCount).where(GuessCount.account == account, GuessCount.guesser == guesser))


async def clear_account(tx: SystemTransaction, account: bytes) -> None:
    """Deletes the counts of all guessers."""
    await tx.session.execute(delete(GuessCount).where(GuessCount.account == account))


async def take_back_one(
    tx: SystemTransaction, account: bytes, guesser: bytes, *, not_before: datetime | None = None
) -> None:
    """`not_before`: when the next guess may come; None leaves it unchanged."""
    one_less: dict[Any, Any] = {GuessCount.guesses: func.greatest(GuessCount.guesses - 1, 0)}
    if not_before is not None:
        one_less[GuessCount.not_before] = not_before
    count = update(GuessCount).where(GuessCount.account == account, GuessCount.guesser == guesser)
    await tx.session.execute(count.values(one_less))


async def purge(tx: SystemTransaction, before: datetime, *, most: int) -> int:
    """Removes counts without a guess since `before`. Returns how many."""
    old = select(GuessCount.account, GuessCount.guesser).where(GuessCount.counted_at < before).limit(most)
    locked = old.with_for_update(skip_locked=True).subquery()
    removal = delete(GuessCount).where(
        GuessCount.account == locked.c.account, GuessCount.guesser == locked.c.guesser, GuessCount.counted_at < before
    )
    return len((await tx.session.execute(removal.returning(GuessCount.account))).all())
