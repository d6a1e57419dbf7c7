"""Commands of an operator, beside serving."""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from billing_api.access.permissions import StaffScope
from billing_api.cli import initial_users
from billing_api.commerce.plans.service import PlanService
from billing_api.gateways.stripe.client import StripeGateway
from billing_api.identity.credentials.password_hashing import Passwords
from billing_api.identity.oauth.service_account_schemas import NewServiceAccount, client_id_of
from billing_api.identity.oauth.service_accounts import create_service_account
from billing_api.licensing.api_keys.platform_keys import create_platform_key
from billing_api.licensing.api_keys.schemas import NewPlatformKey
from core.clock import utc_now
from core.counted import counted
from core.errors import Refusal
from core.licensing.record import PERMISSIONS
from core.settings import ApiSettings, api_settings, demo_settings
from db.engine import create_engine
from db.unit_of_work import Database

Command = Callable[[argparse.Namespace, ApiSettings, Database], Awaitable[int]]


def describe(subcommands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    seed = subcommands.add_parser("seed", help="the same as push-plans")
    seed.set_defaults(run=_push_plans)
    push = subcommands.add_parser("push-plans", help="make Stripe's products and prices agree with the plans")
    push.set_defaults(run=_push_plans)
    admin = subcommands.add_parser("create-admin", help="create the first administrator; asks for the password")
    admin.add_argument("--email", required=True)
    admin.add_argument("--full-name", default="Administrator")
    admin.add_argument("--promote", action="store_true", help="make an existing user an administrator instead")
    admin.set_defaults(run=_create_admin)
    key = subcommands.add_parser("create-platform-key", help="create an API key for NextPanel; shows its secret once")
    key.add_argument("--name", required=True, help="what it is for, as it stands in lists")
    key.add_argument("--permission", action="append", choices=sorted(PERMISSIONS), help="repeat it; default: all")
    key.add_argument("--network", action="append", metavar="CIDR", help="it may be used from there; default: anywhere")
    key.set_defaults(run=_create_platform_key)
    account = subcommands.add_parser(
        "create-service-account", help="create a program's account with scopes of staff; shows its secret once"
    )
    account.add_argument("--name", required=True, help="what it is for, as the audit trail calls it")
    account.add_argument("--scope", action="append", required=True, choices=sorted(StaffScope), help="repeat it")
    account.add_argument(
        "--network", action="append", metavar="CIDR", help="it may be used from there; default: anywhere"
    )
    account.set_defaults(run=_create_service_account)
    demo = subcommands.add_parser("demo-users", help="create the devstack's demo users and platform key (NP_DEMO_*)")
    demo.set_defaults(run=_demo_users)


def run(chosen: argparse.Namespace) -> int:
    return asyncio.run(_run(chosen))


async def _run(chosen: argparse.Namespace) -> int:
    settings = api_settings()
    database = Database(create_engine(settings.database_url, pool_size=2, name="billing_api command"))
    try:
        command: Command = chosen.run
        return await command(chosen, settings, database)
    except Refusal as refusal:
        return _fail(chosen, refusal.detail)
    except (OSError, InterfaceError, OperationalError, PoolTimeout) as failure:
        return _fail(chosen, f"the database does not answer: {failure}")
    finally:
        await database.close()


async def _push_plans(_chosen: argparse.Namespace, settings: ApiSettings, database: Database) -> int:
    stripe = StripeGateway(settings.stripe)
    try:
        changed = await PlanService(database).publish(stripe)
    finally:
        await stripe.close()
    _say(f"{counted(changed, 'plan')} published at Stripe" if changed else "every plan is at Stripe already")
    return 0


async def _create_admin(chosen: argparse.Namespace, _settings: ApiSettings, database: Database) -> int:
    if chosen.promote:
        changed = await initial_users.promote_to_admin(database, email=chosen.email)
        _say(f"{chosen.email} is an administrator now" if changed else f"{chosen.email} is an administrator already")
        return 0
    password = initial_users.ask_password()
    await initial_users.create_admin(
        database, Passwords(), utc_now, email=chosen.email, password=password, full_name=chosen.full_name
    )
    _say(f"{chosen.email} may sign in as administrator")
    return 0


async def _create_platform_key(chosen: argparse.Namespace, settings: ApiSettings, database: Database) -> int:
    try:
        order = msgspec.convert(
            {
                "name": chosen.name,
                "permissions": chosen.permission or sorted(PERMISSIONS),
                "networks": chosen.network or [],
            },
            NewPlatformKey,
        )
    except msgspec.ValidationError:
        return _fail(
            chosen,
            "--name must be one line of 1 to 100 characters, each --permission given once, and --network 16 times at"
            " most",
        )
    async with database.as_system() as tx:
        made = await create_platform_key(
            tx,
            settings.secrets,
            name=order.name,
            permissions=order.permissions,
            networks=order.networks,
            now=utc_now(),
            by="command line",
        )
    _say(f"key id: {made.key.key_id}")
    _say(f"secret: {made.secret}")
    print("Keep the secret now: it is not shown again.", file=sys.stderr)  # noqa: T201  a command speaks to a person
    return 0


async def _create_service_account(chosen: argparse.Namespace, settings: ApiSettings, database: Database) -> int:
    try:
        order = msgspec.convert(
            {"name": chosen.name, "scopes": chosen.scope, "networks": chosen.network or []}, NewServiceAccount
        )
    except msgspec.ValidationError:
        return _fail(
            chosen,
            "--name must be one line of 1 to 100 characters, each --scope given once, and --network 16 times at most",
        )
    async with database.as_system() as tx:
        row, secret = await create_service_account(tx, settings.secrets, order, by="command line")
    _say(f"client id: {client_id_of(row.id)}")
    _say(f"secret: {secret}")
    print("Keep the secret now: it is not shown again.", file=sys.stderr)  # noqa: T201  a command speaks to a person
    return 0


async def _demo_users(_chosen: argparse.Namespace, settings: ApiSettings, database: Database) -> int:
    await initial_users.ensure_demo_people(
        database, Passwords(), settings.secrets, utc_now, demo=demo_settings(), environment=settings.environment
    )
    _say("the demo people and the platform key are there")
    return 0


def _fail(chosen: argparse.Namespace, why: str) -> int:
    print(f"billing_api {chosen.command}: {why}", file=sys.stderr)  # noqa: T201  to a person
    return 1


def _say(text: Any) -> None:
    print(text, file=sys.stdout, flush=True)  # noqa: T201  a command speaks to a person
