"""`python -m devstack.seeded_sessions`: signs in every seeded customer of the running stack, without a password.

Ten thousand sign-ins would hash for minutes. So the sessions are written as rows, and the access tokens signed with the
stack's own key; they are good for a quarter of an hour. They lie in $NP_DATA/seed/signed_in.json, for load tests alone.
"""

import asyncio
import sys
from base64 import b64decode
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import asyncpg  # type: ignore[import-untyped]  # ships no types
import msgspec

from billing_api.access.permissions import Principal
from billing_api.access.tokens import TokenIssuer
from core.clock import utc_now
from core.counted import counted
from db.models.identity import Role
from devstack.keyring import Keyring
from loadtest.customer_calls import SignedIn
from loadtest.seed_files import SeedFiles
from loadtest.seeding.people import PATTERN
from loadtest.stack import NoStack, data_folder, read_stack

_LIFETIME: Final = timedelta(days=30)
_SIGN_IN: Final = """
    INSERT INTO sessions (id, user_id, refresh_hash, rotated_at, authenticated_at, expires_at, address, last_seen_at)
    SELECT gen_random_uuid(), id, sha256(uuid_send(gen_random_uuid())), CAST($2 AS timestamptz), $2,
        $2 + CAST($3 AS interval), '127.0.0.1', $2
    FROM users WHERE email LIKE $1 AND NOT EXISTS (
        SELECT FROM sessions WHERE user_id = users.id AND revoked_at IS NULL AND expires_at > $2
    )
    """
_PEOPLE: Final = """
    SELECT DISTINCT ON (users.id) users.id, sessions.id, licenses.id
    FROM users JOIN sessions ON sessions.user_id = users.id JOIN licenses ON licenses.user_id = users.id
    WHERE users.email LIKE $1 AND sessions.revoked_at IS NULL AND sessions.expires_at > $2
    ORDER BY users.id, licenses.id
    """


def main() -> int:
    data = data_folder()
    try:
        people = asyncio.run(_sign_in(read_stack(data).owner_database_url))
        tokens = TokenIssuer(_keys(data), utc_now)
    except (NoStack, OSError, asyncpg.PostgresError) as fault:
        print(f"seeded_sessions: {fault}", file=sys.stderr)
        return 1
    now = utc_now()
    SeedFiles(data).write_signed_in(
        [
            SignedIn(str(license_id), tokens.issue(Principal(user_id, Role.CUSTOMER, session_id, now)))
            for user_id, session_id, license_id in people
        ]
    )
    print(f"{counted(len(people), 'customer', ',')} signed in for a quarter of an hour")
    return 0


async def _sign_in(owner_url: str) -> list[Any]:
    """User, session and license of each seeded customer who has a license."""
    connection = await asyncpg.connect(owner_url)
    now = utc_now()
    try:
        await connection.execute(_SIGN_IN, PATTERN, now, _LIFETIME)
        people: list[Any] = await connection.fetch(_PEOPLE, PATTERN, now)
        await connection.execute("ANALYZE sessions")
    finally:
        await connection.close()
    return people


def _keys(data: Path) -> dict[str, bytes]:
    """As NP_JWT_KEYS has them."""
    kept = msgspec.json.decode((data / "secrets.json").read_bytes(), type=Keyring)
    pairs = (entry.partition(":") for entry in kept.jwt_keys.split(","))
    return {kid: b64decode(seed) for kid, _, seed in pairs}


if __name__ == "__main__":
    raise SystemExit(main())
