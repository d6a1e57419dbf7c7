"""`python -m workers.commands.rebuild_watch`: shows how far the workers have come with filling Redis from Postgres.

It ends with 0 once every bucket is loaded. With --empty it empties Redis first (FLUSHALL). Nothing is lost, but
validators answer "not ready" until a bucket is loaded again, and reservations wait for a minute where some may have
been held.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from time import monotonic
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from core.counted import counted
from core.errors import Unavailable
from core.hotstore import keys
from core.hotstore.bulk_load import load_progress
from core.hotstore.client import HotStoreClient
from core.hotstore.writer import Writer
from core.settings import BadSettings, StoreSettings, store_settings
from db.engine import create_engine
from db.models.licensing import License
from db.unit_of_work import Database
from workers.commands.progress import ProgressBar, say
from workers.process.redis_pool import redis_pool

_LOOK_EACH: Final = 0.2


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    try:
        return asyncio.run(_run(store_settings(), empty=chosen.empty, wait=chosen.wait))
    except BadSettings as fault:
        say(f"rebuild: {fault}", sys.stderr)
        return 2
    except (RedisError, SQLAlchemyError, OSError, TimeoutError, Unavailable) as fault:
        say(f"rebuild: {type(fault).__name__}: {fault}", sys.stderr)
        return 3


async def _run(settings: StoreSettings, *, empty: bool, wait: float) -> int:
    async with AsyncExitStack() as closing:
        database = Database(create_engine(settings.database_url, name="nextpanel-rebuild-watch", pool_size=1))
        closing.push_async_callback(database.close)
        redis = Redis.from_pool(redis_pool(settings.redis_url))
        closing.push_async_callback(redis.aclose)
        writer = Writer(HotStoreClient(redis))
        closing.push_async_callback(writer.client.close)
        async with database.as_system() as tx:
            licenses = await tx.session.scalar(select(func.count()).select_from(License)) or 0
        if empty:
            await writer.empty()
        began = monotonic()
        loaded = await _watch(writer, licenses, began + wait)
    took = monotonic() - began
    what = "loaded" if loaded else "not loaded yet"
    say(f"{counted(licenses, 'license', ',')} {what} after {took:.1f} s")
    return int(not loaded)


async def _watch(writer: Writer, licenses: int, deadline: float) -> bool:
    """A rebuild says how far it has come; licenses are spread evenly over the buckets that it fills."""
    bar = ProgressBar()
    while missing := await writer.client.missing_buckets():
        done = await load_progress(writer.client)
        of = licenses * (done.buckets or len(missing)) // keys.BUCKETS
        bar.show("licenses", min(done.licenses, of), of)
        if monotonic() > deadline:
            break
        await asyncio.sleep(_LOOK_EACH)
    bar.end()
    return not missing


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m workers.commands.rebuild_watch", description=__doc__)
    parser.add_argument("--empty", action="store_true", help="empty Redis first")
    parser.add_argument("--wait", type=float, default=600, help="give up after so many seconds (default: 600)")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
