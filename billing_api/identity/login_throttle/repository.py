"""Every SQL statement about counted guesses."""

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
    """The counts, made where there were none, in one order for everybody: no two may wait for each other.

    One statement: between an INSERT that finds a row and a SELECT that locks it, the row could be cleared away.
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
    """Of every guesser."""
    await tx.session.execute(delete(GuessCount).where(GuessCount.account == account))


async def take_back_one(
    tx: SystemTransaction, account: bytes, guesser: bytes, *, not_before: datetime | None = None
) -> None:
    """`not_before`: when the next may come, where that is not to stay as it is."""
    one_less: dict[Any, Any] = {GuessCount.guesses: func.greatest(GuessCount.guesses - 1, 0)}
    if not_before is not None:
        one_less[GuessCount.not_before] = not_before
    count = update(GuessCount).where(GuessCount.account == account, GuessCount.guesser == guesser)
    await tx.session.execute(count.values(one_less))


async def purge(tx: SystemTransaction, before: datetime, *, most: int) -> int:
    """Removes counts that nobody has added to since; says how many."""
    old = select(GuessCount.account, GuessCount.guesser).where(GuessCount.counted_at < before).limit(most)
    locked = old.with_for_update(skip_locked=True).subquery()
    removal = delete(GuessCount).where(
        GuessCount.account == locked.c.account, GuessCount.guesser == locked.c.guesser, GuessCount.counted_at < before
    )
    return len((await tx.session.execute(removal.returning(GuessCount.account))).all())
