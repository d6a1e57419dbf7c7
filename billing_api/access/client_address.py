"""The caller of a request, and the one place that says which address is his."""

from typing import Any

from litestar.connection import ASGIConnection

from billing_api.access.caller import DEVICE_COOKIE, Caller
from core import ip_addresses as addresses

AnyConnection = ASGIConnection[Any, Any, Any, Any]


def caller(connection: AnyConnection) -> Caller:
    return Caller(
        address=client_address(connection),
        request_id=str(connection.state.request_id),
        user_agent=connection.headers.get("user-agent"),
        device=connection.cookies.get(DEVICE_COOKIE),
    )


def client_address(connection: AnyConnection) -> str:
    """As text, in its shortest spelling."""
    peer = connection.client.host if connection.client else ""
    forwarded = connection.headers.getall("x-forwarded-for", [])
    return addresses.told(peer, forwarded, connection.app.state.api.settings.trusted_proxies)
