"""Migration: brings a database to the newest schema. Roles first (they belong to the server), then Alembic.

Both are idempotent; two migrations at once take turns through an advisory lock.
"""

import asyncio
import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from db.engine import create_engine

_ONE_AT_A_TIME = 0x6E70_6D69  # any constant: the holder of this advisory lock migrates
_ROUNDS = 20
_SCRAM_ROUNDS = 4096  # as PostgreSQL itself
_OVERTAKEN = "tuple concurrently updated"
_GROUP_ROLES = ("np_customer", "np_staff", "np_system")

# Limits apply from the next login of the role on; SET ROLE changes none of them. The API's statements end before the
# answer to its caller is due, and a wait for a lock ends before its statement. docs/operations.md has the table.
_API_LIMITS = {"statement_timeout": "8s", "lock_timeout": "4s", "idle_in_transaction_session_timeout": "60s"}
_WORKER_LIMITS = {"statement_timeout": "30s", "lock_timeout": "5s", "idle_in_transaction_session_timeout": "60s"}
_KNOWS_TRANSACTION_TIMEOUT = 170_000
"""PostgreSQL 17, as `server_version_num` has it."""


async def upgrade(owner_url: str, *, api_url: str, worker_url: str, revision: str = "head") -> None:
    """Creates the login roles that the two URLs name, with their passwords, and runs the pending migrations."""

    def work(connection: Connection) -> None:
        _against_others(connection, lambda: _ensure_roles(connection, api_url, worker_url))
        command.upgrade(_config(connection), revision)

    await _with_lock(owner_url, work)


async def downgrade(owner_url: str, revision: str) -> None:
    await _with_lock(owner_url, lambda connection: command.downgrade(_config(connection), revision))


async def _with_lock(owner_url: str, work: Callable[[Connection], None]) -> None:
    engine = create_engine(owner_url, pool_size=1)
    try:
        async with engine.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ONE_AT_A_TIME})
            await connection.run_sync(work)
    finally:
        await engine.dispose()


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


def _against_others(connection: Connection, work: Callable[[], None]) -> None:
    """Roles are the server's, not the database's: another database's migration may change them at the same moment.

    In PostgreSQL the second one waits for the first one's COMMIT, and then fails.
    """
    for left in reversed(range(_ROUNDS)):
        try:
            with connection.begin_nested():
                work()
        except DBAPIError as failure:
            if not left or _OVERTAKEN not in str(failure.orig):
                raise
        else:
            return


def _ensure_roles(connection: Connection, api_url: str, worker_url: str) -> None:
    for role in _GROUP_ROLES:
        _ensure_role(connection, role, "NOLOGIN")
    api, worker = _ensure_login(connection, api_url), _ensure_login(connection, worker_url)
    _limit(connection, api, _API_LIMITS, transaction="15s")
    _limit(connection, worker, _WORKER_LIMITS, transaction="60s")
    grants = (
        f"GRANT np_customer TO {api} WITH INHERIT TRUE, SET TRUE",
        f"GRANT np_staff, np_system TO {api} WITH INHERIT FALSE, SET TRUE",
        f"GRANT np_system TO {worker} WITH INHERIT TRUE, SET TRUE",
    )
    for grant in grants:
        connection.execute(text(grant))


def _ensure_login(connection: Connection, url: str) -> str:
    parts = urlsplit(url)
    if not parts.username or not parts.password:
        raise ValueError("DATABASE_URL and WORKER_DATABASE_URL must name a user and a password")
    role = _quoted(unquote(parts.username))
    _ensure_role(connection, role, "LOGIN")
    password = connection.scalar(text("SELECT quote_literal(:it)"), {"it": _verifier(unquote(parts.password))})
    connection.execute(text(f"ALTER ROLE {role} WITH LOGIN NOBYPASSRLS PASSWORD {password}".replace(":", r"\:")))
    return role


def _limit(connection: Connection, role: str, limits: dict[str, str], *, transaction: str) -> None:
    """How long the role's statements, waits for locks, idle transactions and transactions may take."""
    version = int(connection.scalar(text("SHOW server_version_num")) or 0)
    if version >= _KNOWS_TRANSACTION_TIMEOUT:
        limits = limits | {"transaction_timeout": transaction}
    for name, value in limits.items():
        connection.execute(text(f"ALTER ROLE {role} SET {name} = '{value}'"))


def _verifier(password: str) -> str:
    """What PostgreSQL keeps of a password (RFC 5803), so that the log of a failed statement has no password in it.

    A password with other characters than ASCII is left to the server, which normalizes it first (RFC 4013).
    """
    if not password.isascii():
        return password
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _SCRAM_ROUNDS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    salt_, stored_, server_ = (base64.b64encode(part).decode() for part in (salt, stored, server))
    return f"SCRAM-SHA-256${_SCRAM_ROUNDS}:{salt_}${stored_}:{server_}"


def _ensure_role(connection: Connection, role: str, kind: str) -> None:
    connection.execute(
        text(
            f"DO $$ BEGIN CREATE ROLE {role} {kind};"
            " EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
        )
    )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def run(owner_url: str, api_url: str, worker_url: str) -> None:
    asyncio.run(upgrade(owner_url, api_url=api_url, worker_url=worker_url))
