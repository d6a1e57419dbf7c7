"""`python -m workers`: one worker process."""

import gc
import sys

import uvloop

from core.process import die_with_parent
from core.settings import BadSettings, worker_settings
from core.telemetry import configure_logging
from workers import runtime


def main() -> int:
    die_with_parent()
    try:
        settings = worker_settings()
    except BadSettings as fault:
        print(f"workers: {fault}", file=sys.stderr)  # noqa: T201  nothing is set up yet that could log
        return 2
    configure_logging("workers", settings.log_level)
    gc.freeze()  # what is imported stays: left out of every collection, a rebuild costs a third less
    return uvloop.run(runtime.run(settings))


if __name__ == "__main__":
    raise SystemExit(main())
