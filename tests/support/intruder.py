"""Backdoors that an intruder could leave in another user's account: planted, and searched for."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from tests.support.databases import change, rows
from tests.support.servers import DatabaseUrls

_PLANTED: Final[Mapping[str, str]] = {
    "totp_factors": "INSERT INTO totp_factors (user_id, secret, started_at, confirmed_at)"
    " SELECT id, 'x', :now, :now FROM users",
    "recovery_codes": "INSERT INTO recovery_codes (code_hash, user_id, created_at) SELECT 'x', id, :now FROM users",
    "sign_in_challenges": "INSERT INTO sign_in_challenges (token_hash, user_id, password_mark, expires_at)"
    " SELECT 'x', id, 'x', cast(:now AS timestamptz) + interval '5 minutes' FROM users",
    "oauth_clients": "INSERT INTO oauth_clients (id, user_id, name, scopes, secret_hash, created_at)"
    " SELECT gen_random_uuid(), id, 'thief', '[]', 'x', :now FROM users",
    "email_changes": "INSERT INTO email_changes"
    " (id, user_id, old_email, new_email, confirm_hash, expires_at, created_at)"
    " SELECT gen_random_uuid(), id, email, 'thief@example.net', 'x',"
    " cast(:now AS timestamptz) + interval '99 days', :now FROM users",
}
_LIVE: Final[Mapping[str, str]] = {
    "sessions": "revoked_at IS NULL",
    "totp_factors": "true",
    "recovery_codes": "true",
    "sign_in_challenges": "true",
    "oauth_clients": "revoked_at IS NULL",
    "email_changes": "closed_at IS NULL",
    "one_time_tokens": "used_at IS NULL AND purpose = 'reset_password'",
}


async def plant(urls: DatabaseUrls, now: datetime, *, only: str | None = None) -> None:
    """Plants one of each kind in the only account, at `now`."""
    for kind, statement in _PLANTED.items():
        if only in {None, kind}:
            await change(urls, statement, now=now)


async def ways_in(urls: DatabaseUrls) -> dict[str, int]:
    """How many of each kind still give access to the account; kinds with none are left out."""
    counted = {
        kind: len(await rows(urls, f"SELECT 1 FROM {kind} WHERE {condition}")) for kind, condition in _LIVE.items()
    }
    return {kind: count for kind, count in counted.items() if count}
