"""The engine: asyncpg under SQLAlchemy, a pool of limited size, instants in UTC."""

from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import msgspec
from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from db.availability import is_gone

POOL_SIZE: Final = 20
"""Connections a process may hold."""
CONNECT_WITHIN: Final = 5
"""Seconds."""


def create_engine(url: str, *, pool_size: int = POOL_SIZE, name: str = "nextpanel-billing") -> AsyncEngine:
    """`url` is a plain postgresql:// URL; `name` shows in pg_stat_activity."""
    engine = create_async_engine(
        urlunsplit(urlsplit(url)._replace(scheme="postgresql+asyncpg")),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=5,
        pool_pre_ping=False,
        hide_parameters=True,  # an exception is logged; hashes, tokens and addresses are among the parameters
        json_serializer=lambda value: msgspec.json.encode(value).decode(),
        json_deserializer=msgspec.json.decode,
        connect_args={"timeout": CONNECT_WITHIN, "server_settings": server_settings(name)},
    )
    event.listen(engine.sync_engine, "handle_error", _give_up_former_primary)
    event.listen(engine.sync_engine, "checkout", _replace_closed)
    return engine


def _replace_closed(connection: Any, _record: object, _proxy: object) -> None:
    """Replaces a connection that a restarted server has closed, before the pool lends it.

    This asks the driver only. Asking the server, by a ping, would cost a round trip for each transaction.
    """
    if connection.driver_connection.is_closed():
        raise DisconnectionError


def _give_up_former_primary(failure: ExceptionContext) -> None:
    """After a failover open connections stay with the old primary, which refuses every write: all are given up."""
    if is_gone(failure.original_exception):
        failure.is_disconnect = True


def server_settings(name: str) -> dict[str, str]:
    """Settings of every session of the application. Time limits belong to the login roles (db/migrate.py)."""
    return {"application_name": name, "timezone": "UTC"}
