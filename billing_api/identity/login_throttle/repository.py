"""SQL of the guess counters."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import DateTime, LargeBinary, bindparam, delete, select, text, update
from sqlalchemy.sql import func

from db.models.identity import GuessCount
from db.reads import Statement
from db.unit_of_work import SystemTransaction

_INSTANT: Final = DateTime(timezone=True)
# One statement: between an INSERT that finds a row and a SELECT that locks it, the row could be deleted.
_LOCK: Final = Statement(
    text(
        """
        INSERT INTO guess_counts (account, guesser, guesses, not_before, counted_at)
        SELECT :account, guesser, 0, :now, :now FROM unnest(CAST(:guessers AS bytea[])) AS its (guesser)
        ON CONFLICT (account, guesser) DO UPDATE SET guesses = guess_counts.guesses
        RETURNING guesser, guesses, counted_at, not_before, refused_at
        """
    ).bindparams(bindparam("account", type_=LargeBinary()), bindparam("now", type_=_INSTANT))
)
_WRITE: Final = Statement(
    text(
        """
        UPDATE guess_counts
        SET guesses = its.guesses, not_before = its.not_before, counted_at = :now, refused_at = NULL
        FROM unnest(CAST(:guessers AS bytea[]), CAST(:numbers AS integer[]), CAST(:ends AS timestamptz[]))
            AS its (guesser, guesses, not_before)
        WHERE guess_counts.account = :account AND guess_counts.guesser = its.guesser
        """
    ).bindparams(bindparam("account", type_=LargeBinary()), bindparam("now", type_=_INSTANT))
)
_ITS: Final = (
    GuessCount.account == bindparam("its_account", type_=LargeBinary()),
    GuessCount.guesser == bindparam("its_guesser", type_=LargeBinary()),
)
_NOTE_REFUSAL: Final = Statement(update(GuessCount).where(*_ITS).values(refused_at=bindparam("now", type_=_INSTANT)))
_CLEAR: Final = Statement(delete(GuessCount).where(*_ITS))
_TAKE_BACK_ONE: Final = Statement(
    update(GuessCount)
    .where(*_ITS)
    .values(
        guesses=func.greatest(GuessCount.guesses - 1, 0),
        not_before=func.coalesce(bindparam("its_not_before", type_=_INSTANT), GuessCount.not_before),
    )
)


class Count(NamedTuple):
    """A row of `guess_counts`, locked."""

    guesser: bytes
    guesses: int
    counted_at: datetime
    not_before: datetime
    refused_at: datetime | None


async def lock(
    tx: SystemTransaction, account: bytes, guessers: Sequence[bytes], now: datetime
) -> Mapping[bytes, Count]:
    """Locks the counts and creates missing ones, always in the same order, so that no two calls deadlock."""
    rows = await tx.run(_LOCK, {"account": account, "guessers": sorted(guessers), "now": now})
    return {row.guesser: Count(**row.by_name()) for row in rows}


async def write(tx: SystemTransaction, account: bytes, counts: Sequence[Count], now: datetime) -> None:
    """Their numbers and when the next guess may come. They are locked."""
    values = {
        "guessers": [count.guesser for count in counts],
        "numbers": [count.guesses for count in counts],
        "ends": [count.not_before for count in counts],
    }
    await tx.run(_WRITE, values | {"account": account, "now": now})


async def note_refusal(tx: SystemTransaction, account: bytes, guesser: bytes, now: datetime) -> None:
    await tx.run(_NOTE_REFUSAL, {"its_account": account, "its_guesser": guesser, "now": now})


async def clear(tx: SystemTransaction, account: bytes, guesser: bytes) -> None:
    await tx.run(_CLEAR, {"its_account": account, "its_guesser": guesser})


async def clear_account(tx: SystemTransaction, account: bytes) -> None:
    """Deletes the counts of all guessers."""
    await tx.session.execute(delete(GuessCount).where(GuessCount.account == account))


async def take_back_one(
    tx: SystemTransaction, account: bytes, guesser: bytes, *, not_before: datetime | None = None
) -> None:
    """`not_before`: when the next guess may come; None leaves it unchanged."""
    values = {"its_account": account, "its_guesser": guesser, "its_not_before": not_before}
    await tx.run(_TAKE_BACK_ONE, values)


async def purge(tx: SystemTransaction, before: datetime, *, most: int) -> int:
    """Removes counts without a guess since `before`. Returns how many."""
    old = select(GuessCount.account, GuessCount.guesser).where(GuessCount.counted_at < before).limit(most)
    locked = old.with_for_update(skip_locked=True).subquery()
    removal = delete(GuessCount).where(
        GuessCount.account == locked.c.account, GuessCount.guesser == locked.c.guesser, GuessCount.counted_at < before
    )
    return len((await tx.session.execute(removal.returning(GuessCount.account))).all())
