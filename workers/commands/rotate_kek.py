"""`python -m workers.commands.rotate_kek`: re-encrypts every secret under the first key of NP_KEK, in full operation.

Before you run it, restart all processes with both keys, the new one first; docs/operations.md has the whole procedure.
It may be killed and run again, and two may run at once. At its end it counts what lies under which key, in Postgres and
in Redis. It ends with 0 where nothing is left under another key, with 1 where something is, with 2 where the settings
are wrong, with 3 where a store is away.
"""

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from time import monotonic
from typing import Final

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from core.crypto.sealing import sealed_under
from core.hotstore import codec
from core.hotstore.client import HotStoreClient
from core.hotstore.comparison import API_KEYS, Comparison
from core.settings import BadSettings, ResealSettings, reseal_settings
from core.telemetry import configure_logging
from db.engine import create_engine
from db.models.licensing import ApiKey
from db.unit_of_work import Database
from workers.commands.progress import ProgressBar, say
from workers.commands.resealing import Resealed, Resealing
from workers.process.redis_pool import redis_pool

_ASK_AGAIN: Final = 0.2
_REDIS: Final = "Redis, API keys"


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    configure_logging("rotate-kek", "error")
    try:
        settings = reseal_settings()
    except BadSettings as fault:
        say(f"rotate-kek: {fault}", sys.stderr)
        return 2
    try:
        return asyncio.run(_run(settings, count_only=chosen.count, wait=chosen.wait))
    except (RedisError, SQLAlchemyError, OSError, TimeoutError) as fault:
        say(f"rotate-kek: {type(fault).__name__}: {fault}; run it again", sys.stderr)
        return 3


async def _run(settings: ResealSettings, *, count_only: bool, wait: float) -> int:
    current = settings.secrets.sealer.current
    async with AsyncExitStack() as closing:
        database = Database(create_engine(settings.database_url, name="nextpanel-rotate-kek", pool_size=2))
        closing.push_async_callback(database.close)
        redis = Redis.from_pool(redis_pool(settings.redis_url))
        closing.push_async_callback(redis.aclose)
        client = HotStoreClient(redis)
        closing.push_async_callback(client.close)
        resealing = Resealing(database, settings.secrets.sealer)
        if count_only:
            result = Resealed(0, await resealing.count(), ())
        else:
            result = await _reseal(resealing)
        projected = await _projected(database, Comparison(client), current, 0 if count_only else wait)
    result = result._replace(under={**result.under, _REDIS: projected})
    _print(result, current)
    return int(result.left(current) > 0)


async def _reseal(resealing: Resealing) -> Resealed:
    bar = ProgressBar()
    try:
        return await resealing.run(bar.show)
    finally:
        bar.end()


async def _projected(database: Database, comparison: Comparison, current: str, wait: float) -> Counter[str]:
    """What the API keys' documents are sealed under, once the relay has brought the new ones, or `wait` is over."""
    async with database.as_system() as tx:
        names = list((await tx.session.execute(select(ApiKey.key_id))).scalars())
    deadline, found = monotonic() + wait, Counter[str]()
    while True:
        stored = await comparison.stored(API_KEYS, names)
        under = {name: _key_ids(one.packed) for name, one in stored.items() if one.packed is not None}
        names = [name for name, key_ids in under.items() if not set(key_ids) <= {current}]
        last_look = not names or monotonic() > deadline
        for name in under if last_look else under.keys() - set(names):
            found.update(under[name])
        if last_look:
            return found
        await asyncio.sleep(_ASK_AGAIN)


def _key_ids(packed: bytes) -> list[str]:
    try:
        record = codec.decode_api_key(packed)
    except msgspec.MsgspecError:
        return ["unreadable"]
    return [sealed_under(secret) for secret in (record.current_secret, record.previous_secret) if secret is not None]


def _print(result: Resealed, current: str) -> None:
    say(f"sealed anew  {result.done:,} under {current}")
    for place, found in result.under.items():
        counts = ", ".join(f"{count:,} under {key_id}" for key_id, count in sorted(found.items())) or "none"
        say(f"  {place:<28} {counts}")
    for one in result.unreadable:
        say(f"  cannot be opened: {one.place}, row {one.row}: {one.why}")
    left = result.left(current)
    if left:
        say(f"NOT DONE     {left:,} under other keys: keep those, give all processes {current} first, run again")
    else:
        say(f"done         nothing lies under any key but {current}; the others may go")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m workers.commands.rotate_kek", description=__doc__)
    parser.add_argument("--count", action="store_true", help="only count what lies under which key")
    parser.add_argument("--wait", type=float, default=60, help="seconds for Redis to follow (default: 60)")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
