"""`python -m workers.commands.verify_audit`: proves that the audit trail is what was sealed, or shows where it breaks.

With anchors (the `head=` of `audit.sealed` lines in the workers' log) it also finds a chain that was cut off at its
end. It ends with 1 where something does not hold, with 2 where the settings are wrong, with 3 where the database is
away.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence

from sqlalchemy.exc import SQLAlchemyError

from core.counted import counted
from core.crypto.audit_chain import AuditChain, Head
from core.settings import AuditSettings, BadSettings, audit_settings
from core.telemetry import configure_logging
from db.engine import create_engine
from db.unit_of_work import Database
from workers.audit.proof import Proof, prove
from workers.commands.progress import ProgressBar, say


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    configure_logging("verify-audit", "error")
    try:
        settings = audit_settings()
    except BadSettings as fault:
        say(f"verify-audit: {fault}", sys.stderr)
        return 2
    try:
        proof = asyncio.run(_prove(settings, chosen.head))
    except (SQLAlchemyError, OSError, TimeoutError) as fault:
        say(f"verify-audit: {type(fault).__name__}: {fault}", sys.stderr)
        return 3
    _print(proof)
    return int(proof.broken is not None)


async def _prove(settings: AuditSettings, anchors: Sequence[Head]) -> Proof:
    database = Database(create_engine(settings.database_url, name="nextpanel-verify-audit", pool_size=1))
    bar = ProgressBar()
    try:
        chain = AuditChain(settings.audit_keys)
        return await prove(database, chain, anchors, lambda done, of: bar.show("links", done, of))
    finally:
        bar.end()
        await database.close()


def _print(proof: Proof) -> None:
    if proof.broken is not None:
        at = proof.broken
        row = "" if at.audit_id is None else f", row {at.audit_id}"
        say(f"BROKEN       {at.fault} at position {at.position}{row}: {at.says}")
    say(f"holds        {counted(proof.head.position, 'link', ',')}")
    if proof.broken is None:
        say(f"waiting      {counted(proof.waiting, 'row', ',')}, the oldest for {proof.oldest_seconds:.0f} s")
    say(f"head         {proof.head.text}")


def _anchor(text: str) -> Head:
    try:
        return Head.read(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form POSITION:SEAL, as head= in the log") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m workers.commands.verify_audit", description=__doc__)
    parser.add_argument(
        "--head", type=_anchor, action="append", default=[], metavar="POSITION:SEAL", help="an anchor; may be repeated"
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
