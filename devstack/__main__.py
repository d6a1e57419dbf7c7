"""`python -m devstack up|down|demo|run`: what `make up`, `make down`, `make demo` and `make reconcile` run."""

import argparse
import json
import signal
import subprocess
import sys
from importlib import import_module

from core.process import die_with_parent
from core.settings import process_environment
from devstack.choices import Choices
from devstack.faults import CannotStart
from devstack.keyring import Keyring
from devstack.occupancy import vacate
from devstack.up import up


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m devstack", description="The whole system on one machine.")
    commands = parser.add_subparsers(dest="command", required=True)
    start = commands.add_parser("up", help="start everything, and keep it running until Ctrl-C")
    start.add_argument("--with-parent", action="store_true", help="stop when the process that started this one ends")
    commands.add_parser("down", help="stop what runs in NP_DATA")
    commands.add_parser("demo", help="walk through a sale on the running stack")
    other = commands.add_parser("run", help="run a module of the project with the running stack's two stores and keys")
    other.add_argument("module")
    other.add_argument("arguments", nargs=argparse.REMAINDER)
    chosen = parser.parse_args()
    try:
        if chosen.command == "up":
            if chosen.with_parent:
                die_with_parent(signal.SIGTERM)
            up(process_environment())
            return 0
        if chosen.command == "down":
            return _down()
        if chosen.command == "run":
            return _run(chosen.module, chosen.arguments)
        return int(import_module("devstack.demo").main(Choices.read(process_environment()).data))
    except CannotStart as fault:
        print(f"make {chosen.command}: {fault}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # before anything was started
        return 130


def _run(module: str, arguments: list[str]) -> int:
    """The person's environment overrides what the stack has written down."""
    env = process_environment()
    data = Choices.read(env).data
    facts_file = data / "run.json"
    try:
        facts = json.loads(facts_file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CannotStart(
            f"{facts_file} is not there: start a stack with `make up`, or name its folder in NP_DATA"
        ) from None
    keyring = Keyring.kept_in(data / "secrets.json", beside=data / "postgres")
    keys = {"NP_KEK": keyring.kek, "NP_INDEX_KEY": keyring.index_key, "NP_AUDIT_KEYS": keyring.audit_keys}
    stores = {"WORKER_DATABASE_URL": facts["worker_database_url"], "REDIS_URL": facts["redis_url"]}
    given = {name: value for name, value in env.items() if value.strip()}
    return subprocess.call((sys.executable, "-m", module, *arguments), env=keys | stores | given)


def _down() -> int:
    data = Choices.read(process_environment()).data
    print("stopped" if vacate(data) else f"nothing runs in {data}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
