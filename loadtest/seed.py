"""`python -m loadtest.seed --licenses 100000`: licenses for load tests, and files that say how to use them.

Each run makes a fresh set: it first removes what an earlier run made, unless you give --append. Under $NP_DATA/seed lie
`license_keys.txt`, one key a line, and `customers.json`, people who can sign in; the first few of them already have,
and their access tokens are good for a quarter of an hour.
"""

import argparse
import asyncio
import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from pathlib import Path
from time import perf_counter
from typing import Final

import asyncpg  # type: ignore[import-untyped]  # ships no types
import httpx
import msgspec
from redis.exceptions import RedisError

from core.counted import counted
from core.settings import BadSettings, migration_settings
from loadtest.arguments import positive_count
from loadtest.progress import Progress
from loadtest.seed_files import SeededCustomer, SeedFiles
from loadtest.seeding import batch, people, removal
from loadtest.seeding.catalogue import SHARES, Plan, plans_for
from loadtest.stack import NoStack, data_folder, read_stack, seed_environment

_BATCH: Final = 5000
_LICENSES_EACH: Final = 100
_MOST_CUSTOMERS: Final = 10_000
_SIGNED_IN: Final = 5


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    data = data_folder()
    files = SeedFiles(data)
    try:
        environment = seed_environment(data)
        if not chosen.append:
            _remove(environment)
            files.clear()
        if not chosen.remove:
            _seed(environment, files, chosen)
            asyncio.run(_analyze(environment))
            _sign_some_in(data, files)
    except (NoStack, BadSettings, LookupError, OSError, asyncpg.PostgresError, RedisError) as fault:
        print(f"seed: {fault}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("seed: interrupted; what is committed stays, and the next run removes it", file=sys.stderr)
        return 130
    return 0


def _seed(environment: dict[str, str], files: SeedFiles, chosen: argparse.Namespace) -> None:
    began = perf_counter()
    customers, plans = asyncio.run(_prepare(environment, chosen))
    files.write_customers([*files.read_customers(), *(SeededCustomer(who.email, who.password) for who in customers)])
    late = 0
    with _processes(chosen.processes) as pool, Progress("issuing licenses", chosen.licenses) as progress:
        orders = list(_orders(environment, plans, customers, chosen.licenses))
        for future in as_completed([pool.submit(_make, order) for order in orders]):
            made = future.result()
            files.add_keys(made.keys)
            progress.add(len(made.keys))
            late += 0 if made.projected else len(made.keys)
    took = perf_counter() - began
    licenses, owners = counted(chosen.licenses, "license", ","), counted(len(customers), "customer", ",")
    print(f"{licenses} for {owners} in {took:.1f} s; their keys: {files.keys}")
    if late:
        print(f"Redis did not take {late:,} of them; the relay will, in {counted(batch.GUARD_SECONDS // 60, 'minute')}")


async def _prepare(
    environment: dict[str, str], chosen: argparse.Namespace
) -> tuple[Sequence[people.Customer], list[tuple[Plan, int]]]:
    connection = await asyncpg.connect(migration_settings(environment).owner_database_url)
    try:
        plans = await plans_for(connection, chosen.plan)
        wanted = chosen.customers or min(_MOST_CUSTOMERS, max(1, chosen.licenses // _LICENSES_EACH))
        return await people.create(connection, wanted), plans
    finally:
        await connection.close()


async def _analyze(environment: dict[str, str]) -> None:
    """Updates the planner's statistics now, and not when the autovacuum runs in the middle of a measurement."""
    connection = await asyncpg.connect(migration_settings(environment).owner_database_url)
    try:
        await connection.execute("ANALYZE users, licenses")
    finally:
        await connection.close()


def _orders(
    environment: dict[str, str], plans: list[tuple[Plan, int]], customers: Sequence[people.Customer], licenses: int
) -> Iterator[batch.Order]:
    """Batches, each for customers of its own as far as there are enough, so that every customer gets some."""
    sizes = [min(_BATCH, licenses - start) for start in range(0, licenses, _BATCH)]
    for number, size in enumerate(sizes):
        mine = customers[number :: len(sizes)] or customers
        yield batch.Order(environment, plans, [customer.id for customer in mine], size)


def _make(order: batch.Order) -> batch.Made:
    return asyncio.run(batch.make(order))


def _processes(number: int) -> Executor:
    return ProcessPoolExecutor(number, mp_context=multiprocessing.get_context("spawn"))


def _remove(environment: dict[str, str]) -> None:
    with Progress("removing earlier seeds", 0) as progress:
        removed = asyncio.run(removal.remove(environment, progress.reach))
    if removed:
        print(f"removed from earlier seeds: {counted(removed, 'license', ',')}")


def _sign_some_in(data: Path, files: SeedFiles) -> None:
    """Tokens for trying something by hand; none where no API runs."""
    customers = files.read_customers()
    try:
        login = f"{read_stack(data).billing_api}/api/v1/auth/login"
        with httpx.Client(timeout=10) as http:
            for place, who in enumerate(customers[:_SIGNED_IN]):
                granted = http.post(login, json={"email": who.email, "password": who.password}).raise_for_status()
                customers[place] = msgspec.structs.replace(who, access_token=granted.json()["access_token"])
    except (NoStack, httpx.HTTPError) as fault:
        print(f"nobody is signed in: {fault}")
    files.write_customers(customers)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtest.seed", description=__doc__)
    parser.add_argument("--licenses", type=positive_count, default=100_000)
    parser.add_argument(
        "--customers", type=positive_count, help="default: one for each hundred licenses, at most 10,000"
    )
    parser.add_argument("--plan", choices=("mix", *SHARES), default="mix")
    parser.add_argument("--processes", type=positive_count, default=os.cpu_count() or 1)
    earlier = parser.add_mutually_exclusive_group()
    earlier.add_argument("--append", action="store_true", help="keep what earlier runs made")
    earlier.add_argument("--remove", action="store_true", help="remove what earlier runs made, and make nothing")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
