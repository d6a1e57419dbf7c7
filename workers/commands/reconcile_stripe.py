"""`python -m workers.commands.reconcile_stripe`: finds what no webhook of Stripe's brought.

Workers do the same every five minutes. It reads Stripe's events since the last time and stores those that are missing;
the workers process them. With --all it reads every customer's subscriptions and open invoices, whatever the events say.
It may be killed and run again. It ends with 1 where a customer could not be read, with 2 where the settings are wrong,
with 3 where a store or Stripe is away.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack

from sqlalchemy.exc import SQLAlchemyError

from billing_api.commerce.stripe_mirror.service import Mirror
from billing_api.gateways.stripe.client import StripeGateway
from billing_api.gateways.stripe.listing import StripeListing
from billing_api.operations.stripe_reconciliation.service import Reconciled, StripeReconciliation
from core.clock import utc_now
from core.counted import counted
from core.errors import Refusal, Unavailable
from core.settings import BadSettings, WorkerSettings, worker_settings
from core.telemetry import configure_logging
from db.engine import create_engine
from db.unit_of_work import Database
from workers.commands.progress import say
from workers.handlers.webhooks import WEBHOOK_CLAIM_SECONDS


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    configure_logging("reconcile-stripe", "critical")  # what was found is printed at the end
    try:
        settings = worker_settings()
    except BadSettings as fault:
        say(f"reconcile-stripe: {fault}", sys.stderr)
        return 2
    try:
        done = asyncio.run(_run(settings, walk=chosen.all))
    except (SQLAlchemyError, OSError, TimeoutError, Refusal, Unavailable) as fault:
        say(f"reconcile-stripe: {type(fault).__name__}: {fault}", sys.stderr)
        return 3
    _print(done)
    return int(done.failed > 0)


async def _run(settings: WorkerSettings, *, walk: bool) -> Reconciled:
    async with AsyncExitStack() as closing:
        database = Database(create_engine(settings.database_url, name="nextpanel-reconcile-stripe", pool_size=2))
        closing.push_async_callback(database.close)
        stripe = StripeGateway(settings.stripe)
        closing.push_async_callback(stripe.close)
        mirror = Mirror(database, stripe, settings.secrets, utc_now, within=WEBHOOK_CLAIM_SECONDS)
        return await StripeReconciliation(database, StripeListing(stripe.v1), mirror, utc_now).run(walk=walk)


def _print(done: Reconciled) -> None:
    if done.walked:
        say(f"{counted(done.walked, 'customer')} read at Stripe, {done.failed} of them without success")
        if done.failed:
            say("the audit trail and the log name them: see GET /api/v1/admin/audit?action=stripe.all_customers_walked")
    elif done.recovered:
        say(f"{counted(done.recovered, 'event')} that no webhook had brought: the workers process them now")
    else:
        say("every event has reached us")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m workers.commands.reconcile_stripe", description=__doc__)
    parser.add_argument("--all", action="store_true", help="read every customer, not only new events")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
