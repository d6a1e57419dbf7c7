"""`python -m workers.commands.reconcile_now`: compares Redis with Postgres now, every field and every event.

It repairs what differs, as a worker does each minute. It ends with 1 where something is left that could not be
repaired, with 2 where the settings are wrong, with 3 where a store is away.
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
from sqlalchemy.exc import SQLAlchemyError

from billing_api.operations.reconciliation import repository
from core.clock import utc_now
from core.counted import counted
from core.errors import Unavailable
from core.hotstore import keys
from core.hotstore.client import HotStoreClient
from core.hotstore.writer import Writer
from core.settings import BadSettings, StoreSettings, store_settings
from core.telemetry import configure_logging
from db.engine import create_engine
from db.models.reconciliation import ReconciliationDifference
from db.unit_of_work import Database
from workers.commands.progress import ProgressBar, say
from workers.process.redis_pool import redis_pool
from workers.reconciliation.run import Reconciliation, RunReport

_MOST_SHOWN: Final = 20
_ASK_AGAIN: Final = 0.5


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    configure_logging("reconcile", "error")  # what was found is printed at the end
    try:
        settings = store_settings()
    except BadSettings as fault:
        say(f"reconcile: {fault}", sys.stderr)
        return 2
    try:
        return asyncio.run(_run(settings, quick=chosen.quick, wait=chosen.wait))
    except (RedisError, SQLAlchemyError, OSError, TimeoutError, Unavailable) as fault:
        say(f"reconcile: {type(fault).__name__}: {fault}", sys.stderr)
        return 3


async def _run(settings: StoreSettings, *, quick: bool, wait: float) -> int:
    async with AsyncExitStack() as closing:
        database = Database(create_engine(settings.database_url, name="nextpanel-reconcile", pool_size=5))
        closing.push_async_callback(database.close)
        redis = Redis.from_pool(redis_pool(settings.redis_url))
        closing.push_async_callback(redis.aclose)
        writer = Writer(HotStoreClient(redis))
        closing.push_async_callback(writer.client.close)
        await writer.load_functions()

        async def loaded() -> bool:
            """Workers rebuild; this command only waits for them."""
            return await writer.client.is_ready()

        # One run, as the workers do it; then what it found.
        reconciliation = Reconciliation(
            database, writer, utc_now, every=60, load=loaded, rebuilt_within=wait, repaired_within=wait
        )
        report = await _look(reconciliation, () if quick else range(keys.BUCKETS), wait)
        if report is None:
            say(
                "reconcile: a worker's run is still going on; see /api/v1/admin/reconciliation, run this later",
                sys.stderr,
            )
            return 3
        async with database.as_system() as tx:
            statement = repository.AS_FOUND.sorted(repository.differences_of(report.run_id)).limit(_MOST_SHOWN)
            shown = list((await tx.session.execute(statement)).scalars())
    _print(report, shown)
    return int(report.state == "differing")


async def _look(reconciliation: Reconciliation, thorough: Sequence[int], wait: float) -> RunReport | None:
    bar = ProgressBar()
    deadline = monotonic() + wait
    while (report := await reconciliation.look("command", thorough, bar.show)) is None and monotonic() < deadline:
        bar.show("waiting for another run", 0, 1)
        await asyncio.sleep(_ASK_AGAIN)
    bar.end()
    return report


def _print(report: RunReport, shown: Sequence[ReconciliationDifference]) -> None:
    count = report.counts
    found, repaired = count["differences"], count["repaired"]
    lines = (
        ("events", f"{count['events']:,} added up again"),
        ("totals", f"{count['totals']:,} beside what their events come to"),
        (
            "Redis",
            f"{counted(count['licenses'], 'license', ',')} and {counted(count['api_keys'], 'API key', ',')} by digest",
        ),
        ("", f"{count['records']:,} of them field by field"),
        ("differences", f"{found:,}"),
        ("repaired", f"{repaired:,}"),
        ("undecided", f"{count['undecided']:,}"),
        ("seconds", f"{report.seconds:.1f}"),
        ("run", f"{report.run_id}: {report.state}"),
    )
    for name, said in lines:
        say(f"{name:<12} {said}")
    for one in shown:
        say(f"  {one.subject} {one.fault}: {one.name}; Postgres {one.expected}, found {one.found}; {one.outcome}")
    if found > len(shown):
        say(f"  … and {found - len(shown):,} more at /api/v1/admin/reconciliation/{report.run_id}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m workers.commands.reconcile_now", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="digests only: no fields, no events")
    parser.add_argument(
        "--wait", type=float, default=120, help="seconds to wait for another run, a rebuild, a relay (default: 120)"
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
