"""Client address: the one place that decides which address a request came from, behind proxies as well."""

from typing import Any

from litestar.connection import ASGIConnection

from billing_api.access.caller import DEVICE_COOKIE, Caller
from core import ip_addresses

AnyConnection = ASGIConnection[Any, Any, Any, Any]


def caller(connection: AnyConnection) -> Caller:
    return Caller(
        address=client_address(connection),
        request_id=str(connection.state.request_id),
        user_agent=connection.headers.get("user-agent"),
        device=connection.cookies.get(DEVICE_COOKIE),
    )


def client_address(connection: AnyConnection) -> str:
    """As text, in its shortest form."""
    peer = connection.client.host if connection.client else ""
    forwarded = connection.headers.getall("x-forwarded-for", [])
    return ip_addresses.client_address(peer, forwarded, connection.app.state.api.settings.trusted_proxies)
