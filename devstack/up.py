"""`make up`: from nothing to a running stack, and back to nothing on Ctrl-C."""

import asyncio
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from core.clock import keep_clock
from devstack.child import Nursery
from devstack.choices import Choices
from devstack.keyring import Keyring, write_private
from devstack.occupancy import occupied
from devstack.parts import Plan, Stack
from devstack.ports import allot
from devstack.stack import THE_STACK
from devstack.supervisor import Pids, Supervisor

_AFTER_A_KILL: Final = 10.0  # seconds for the ports of a run that was killed to become free
_ONE_CTRL_C: Final = 1.0  # a Ctrl-C reaches us from the terminal and from make; both mean one wish


def up(environment: Mapping[str, str], plan: Plan = THE_STACK) -> None:
    """Run a stack until a signal asks for its end. Raises CannotStart with instructions for the person."""
    began = time.monotonic()
    choices = Choices.read(environment)

    def tell(line: str) -> None:
        say(f"{time.monotonic() - began:7.2f}  {line}")

    with occupied(choices.data, tell) as lock:
        keep_clock(choices.data / "clock")
        run_file = choices.data / "run.json"
        was_killed = run_file.exists()
        run_file.unlink(missing_ok=True)
        ports = allot(
            plan.wanted_ports(choices),
            choices.env,
            choices.data / "ports.json",
            host=choices.host,
            patience=_AFTER_A_KILL if was_killed else 0,
        )
        keyring = Keyring.kept_in(choices.data / "secrets.json", beside=choices.data / "postgres")
        stack = plan.describe(choices, keyring, ports)
        nursery = Nursery(choices.data / "log", lock)
        nursery.rotate()
        try:
            asyncio.run(_until_asked(stack, nursery, run_file, tell))
        finally:
            run_file.unlink(missing_ok=True)


async def _until_asked(stack: Stack, nursery: Nursery, run_file: Path, tell: Callable[[str], None]) -> None:
    def when_ready(pids: Pids) -> None:
        first = not run_file.exists()
        facts = dict(stack.facts) | {"pids": pids}
        write_private(run_file, msgspec.json.format(msgspec.json.encode(facts)))
        if first:
            tell("everything is ready; Ctrl-C stops it")
            say(table(facts, run_file))

    supervisor = Supervisor(stack.nodes, nursery, tell=tell, when_ready=when_ready)
    running = asyncio.ensure_future(supervisor.run())
    asked_at: list[float] = []

    def ask() -> None:
        if not asked_at:
            tell("stopping; a second Ctrl-C kills what is left")
            if not supervisor.stopping:
                running.cancel()
        elif time.monotonic() - asked_at[0] > _ONE_CTRL_C:
            supervisor.hurry()
        asked_at.append(time.monotonic())

    _hear(ask)
    try:
        await running
    except asyncio.CancelledError:
        tell("stopped")


def _hear(ask: Callable[[], None]) -> None:
    wishes = {signal.SIGINT, signal.SIGTERM}
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup wants it ignored
        wishes.add(signal.SIGHUP)
    for wish in wishes:
        asyncio.get_running_loop().add_signal_handler(wish, ask)


def say(text: str) -> None:
    with suppress(OSError, ValueError):  # the terminal may be closed: everything must go on all the same
        print(text, flush=True)


def table(facts: Mapping[str, Any], run_file: Path) -> str:
    """Addresses and logins for a person."""
    simulators = facts["simulators"]
    rows = {
        "billing API": f"{facts['billing_api']}   (try it: /schema/swagger)",
        "validator": facts["validator"],
        "portal": facts["portal"],
        "Stripe": simulators.get("stripe"),
        "NextPanel": simulators.get("nextpanel"),
        "mail": simulators.get("mail") and f"{simulators['mail']}/_sim/messages",
        "PostgreSQL": facts["owner_database_url"],
        "Valkey": facts["redis_url"],
        "admin": f"{facts['admin']['email']}   {facts['admin']['password']}",
        "customer": f"{facts['customer']['email']}   {facts['customer']['password']}",
        "platform key": f"{facts['platform_key']['key_id']}   {facts['platform_key']['secret']}",
        "all of this": f"{run_file}   (logs: {run_file.parent / 'log'})",
    }
    lines = [f"  {name:<13} {value}" for name, value in rows.items() if value]
    return "\n".join(["", *lines, ""])
