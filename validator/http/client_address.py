"""Client address of a request: the one place of the validator that decides it, behind proxies as well."""

from collections.abc import Sequence

from core import ip_addresses
from validator.http.protocol import Request


def client_address(request: Request, proxies: Sequence[ip_addresses.Network]) -> str:
    """As text, in its shortest form. Only `proxies` are believed in what they say of others."""
    forwarded = request.headers.get(b"x-forwarded-for")
    lines = () if forwarded is None else (forwarded.decode("latin-1"),)
    return ip_addresses.client_address(request.peer, lines, proxies)
