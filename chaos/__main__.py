"""`python -m chaos --seconds 300 --seed 7`: the crash test, on a stack of its own. Ends with 1 on any violation."""

import argparse
import secrets
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from chaos.report import report
from chaos.run import Setting, play
from chaos.stores import NotQuiet
from chaos.system import DidNotStart
from loadtest.arguments import positive_count, positive_number


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    seed = secrets.randbelow(1_000_000) if chosen.seed is None else chosen.seed
    setting = Setting(seed, chosen.seconds, chosen.licenses, chosen.panels, chosen.ttl)
    folder = Path(tempfile.mkdtemp(prefix=f"chaos-{seed}-", dir=chosen.folder))
    print(f"seed {seed}; data, logs and history: {folder}", flush=True)
    try:
        outcome = play(setting, folder, lambda line: print(line, flush=True))
    except (DidNotStart, NotQuiet) as fault:
        print(f"chaos: {fault}; seed {seed}, see {folder}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(report(outcome))
    if outcome.violations:
        return 1
    if not chosen.keep:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--seconds", type=positive_number, default=300.0, help="of traffic and kills (300)")
    parser.add_argument("--seed", type=int, help="decides what is killed when, and what each client does")
    parser.add_argument("--licenses", type=positive_count, default=6, help="each with the limits of Starter (6)")
    parser.add_argument("--panels", type=positive_count, default=4, help="clients of each license (4)")
    parser.add_argument("--ttl", type=positive_number, default=20.0, help="seconds a hold lasts at most, to 60 (20)")
    parser.add_argument(
        "--folder", type=Path, help="where to make the run's own folder (the system's temporary folder)"
    )
    parser.add_argument("--keep", action="store_true", help="keep that folder even without violations")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
