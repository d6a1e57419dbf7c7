"""`python -m workers.commands.fill_key_hints`: gives each license the last four symbols of its key, in full operation.

Needed once, after the update that brought key hints: licenses that are issued or get a new key since then have theirs.
It needs the workers' DATABASE_URL and NP_KEK, for it opens every key. It may be killed and run again, and two may run
at once. It ends with 0 where every license has a hint, with 1 where one has none, with 2 where the settings are wrong,
with 3 where the database is away.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from core.counted import counted
from core.settings import BadSettings, HintSettings, hint_settings
from core.telemetry import configure_logging
from db.engine import create_engine
from db.unit_of_work import Database
from workers.commands.key_hints import Filled, KeyHints
from workers.commands.progress import ProgressBar, say

_MOST_SHOWN: Final = 20


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    configure_logging("fill-key-hints", "error")
    try:
        settings = hint_settings()
    except BadSettings as fault:
        say(f"fill-key-hints: {fault}", sys.stderr)
        return 2
    try:
        filled = asyncio.run(_run(settings, count_only=chosen.count))
    except (SQLAlchemyError, OSError, TimeoutError) as fault:
        say(f"fill-key-hints: {type(fault).__name__}: {fault}; run it again", sys.stderr)
        return 3
    _print(filled)
    return int(filled.left > 0)


async def _run(settings: HintSettings, *, count_only: bool) -> Filled:
    database = Database(create_engine(settings.database_url, name="nextpanel-fill-key-hints", pool_size=1))
    bar = ProgressBar()
    try:
        hints = KeyHints(database, settings.secrets.sealer)
        if count_only:
            return Filled(0, await hints.count(), {})
        return await hints.fill(lambda done, of: bar.show("licenses", done, of))
    finally:
        bar.end()
        await database.close()


def _print(filled: Filled) -> None:
    say(f"filled       {counted(filled.done, 'license', ',')}")
    for license_id, why in list(filled.unreadable.items())[:_MOST_SHOWN]:
        say(f"  cannot be opened: license {license_id}: {why}")
    more = len(filled.unreadable) - _MOST_SHOWN
    if more > 0:
        say(f"  … and {more:,} more")
    if filled.left:
        say(f"NOT DONE     {filled.left:,} without a hint: run it again, with every key that they are sealed under")
    else:
        say("done         every license has a hint")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m workers.commands.fill_key_hints", description=__doc__)
    parser.add_argument("--count", action="store_true", help="only count the licenses without a hint")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
