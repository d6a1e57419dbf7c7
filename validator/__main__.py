"""Entry point: `python -m validator` is the supervisor; it starts `python -m validator child …` for each slot."""

import socket
import sys

from core.settings import BadSettings, validator_settings
from core.telemetry import configure_logging
from validator import process as child
from validator.supervisor import Supervisor


def main(arguments: list[str]) -> None:
    try:
        settings = validator_settings()
    except BadSettings as fault:
        sys.exit(f"validator: {fault}")
    if arguments[:1] == ["child"]:
        slot, parent, at, metrics_at, tell = map(int, arguments[1:])
        sockets = (socket.socket(fileno=at), socket.socket(fileno=metrics_at))
        child.serve(settings, slot, parent, sockets, tell)
        return
    configure_logging("validator", settings.log_level)
    Supervisor(settings).run()


if __name__ == "__main__":
    main(sys.argv[1:])
