"""`python -m db migrate`: brings the database named by OWNER_DATABASE_URL to the newest schema."""

import argparse
import sys

from core.settings import BadSettings, migration_settings
from db import migrate


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m db", description="Looks after the database's schema.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser(
        "migrate",
        help="create the roles named in DATABASE_URL and WORKER_DATABASE_URL, then run the pending migrations",
    )
    parser.parse_args()
    try:
        settings = migration_settings()
    except BadSettings as fault:
        print(f"migrate: {fault}", file=sys.stderr)  # noqa: T201  a command speaks to a person
        return 2
    migrate.run(settings.owner_database_url, settings.api_database_url, settings.worker_database_url)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
