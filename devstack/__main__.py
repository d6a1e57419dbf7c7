"""`python -m devstack up|down|demo`: what `make up`, `make down` and `make demo` run."""

import argparse
import signal
import sys
from importlib import import_module

from core.process import die_with_parent
from core.settings import process_environment
from devstack.choices import Choices
from devstack.faults import CannotStart
from devstack.occupancy import vacate
from devstack.up import up


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m devstack", description="The whole system on one machine.")
    commands = parser.add_subparsers(dest="command", required=True)
    start = commands.add_parser("up", help="start everything, and keep it running until Ctrl-C")
    start.add_argument("--with-parent", action="store_true", help="stop when the process that started this one ends")
    commands.add_parser("down", help="stop what runs in NP_DATA")
    commands.add_parser("demo", help="walk through a sale on the running stack")
    chosen = parser.parse_args()
    try:
        if chosen.command == "up":
            if chosen.with_parent:
                die_with_parent(signal.SIGTERM)
            up(process_environment())
            return 0
        if chosen.command == "down":
            return _down()
        return int(import_module("devstack.demo").main(Choices.read(process_environment()).data))
    except CannotStart as fault:
        print(f"make {chosen.command}: {fault}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # before anything was started
        return 130


def _down() -> int:
    data = Choices.read(process_environment()).data
    print("stopped" if vacate(data) else f"nothing runs in {data}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
