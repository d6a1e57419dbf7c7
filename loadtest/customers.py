"""`python -m loadtest.customers --rate 1000 --connections 10000 --seconds 30`: signed-in customers at a constant rate.

Lists of licenses, usage, accounts, overviews, invoices and changes of a name, each by another customer. The customers
are those of `make seed CUSTOMERS=10000`; their tokens are good for a quarter of an hour, so `make openloop-customers`
signs them in anew each time. It ends with 1 where a request failed, or where the p99 is above the limit.

The limits by user and address are the stack's: `NP_LIMITS='address=100000/60'` lets one machine ask for many.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from loadtest import results
from loadtest.arguments import positive_count, positive_number
from loadtest.customer_calls import CustomersTarget, SignedIn
from loadtest.driver import CannotDrive, Plan
from loadtest.openloop import Limits, measure
from loadtest.seed_files import SeedFiles
from loadtest.stack import NoStack, data_folder, read_stack

_IDLE_AT_MOST = 8.0
"""The API ends a connection that was idle for ten seconds, and clients are told to be earlier (docs/operations.md)."""
_MEASURED = ("billing_api", "postgres", "valkey")


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    data = data_folder()
    try:
        stack = read_stack(data)
        plan = Plan(
            url=stack.billing_api,
            rate=chosen.rate,
            connections=chosen.connections,
            seconds=chosen.seconds,
            warm_up=chosen.warm_up,
            patience=chosen.patience,
            idle_at_most=_IDLE_AT_MOST,
        )
        result = measure(
            CustomersTarget(stack.billing_api, _signed_in(data)),
            plan,
            processes=chosen.processes,
            pids={part: stack.pids.get(part, []) for part in _MEASURED},
            limits=Limits(chosen.p99_ms),
        )
    except (CannotDrive, NoStack) as fault:
        print(f"customers: {fault}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return results.conclude(result, chosen.out, data)


def _signed_in(data: Path) -> list[SignedIn]:
    people = SeedFiles(data).read_signed_in()
    if not people:
        raise NoStack("nobody is signed in: make customers with `make seed CUSTOMERS=10000`")
    return people


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtest.customers", description=__doc__)
    parser.add_argument("--rate", type=positive_number, default=1_000, help="requests a second, in all")
    parser.add_argument("--connections", type=positive_count, default=10_000, help="held open, in all")
    parser.add_argument("--seconds", type=positive_number, default=30)
    parser.add_argument("--warm-up", type=float, default=5.0, help="seconds at the same rate that are not recorded")
    parser.add_argument(
        "--patience", type=positive_number, default=10, help="seconds after which an answer is given up"
    )
    parser.add_argument("--processes", type=positive_count, default=1, help="driver processes")
    parser.add_argument("--p99-ms", type=positive_number, help="the run fails where p99 is above")
    parser.add_argument("--out", type=Path, help="default: a file under $NP_DATA/results")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
